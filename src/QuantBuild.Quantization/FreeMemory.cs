namespace QuantBuild.Quantization;

/// <summary>How much memory there is for this process.</summary>
public static class FreeMemory
{
    /// <summary>Bytes that this process can hold, with what it holds already: what the machine, or the container, has free of its memory.</summary>
    public static long Bytes()
    {
        // What the system says is as old as the last collection.
        GC.Collect();
        GCMemoryInfo memory = GC.GetGCMemoryInfo();
        return Math.Max(0, memory.TotalAvailableMemoryBytes - memory.MemoryLoadBytes + Environment.WorkingSet);
    }
}
