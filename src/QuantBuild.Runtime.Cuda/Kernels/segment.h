// What the inputs of linears are rounded by.
#pragma once
#include "device.h"

// Inputs of a token that share a scale: x = scale * q.
struct alignas(8) Segment
{
    float scale;
    int sum; // of its bytes
};
