// Which tokens an expert computes.
#pragma once
#include "device.h"

// A token of an expert. Those of an expert lie side by side, by number, and so do the experts.
struct Slot
{
    int token;
    int expert;
};

// Slots of an expert that blocks compute together; none where count is 0.
struct Run
{
    int expert;
    int first;
    int count;
};
