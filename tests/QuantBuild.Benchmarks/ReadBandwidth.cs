using System.Runtime.Intrinsics;

namespace QuantBuild.Benchmarks;

/// <summary>How fast this machine reads memory: the ceiling of decoding, where every weight is read once for each token.</summary>
static unsafe class ReadBandwidth
{
    // Far beyond any cache.
    private const long Bytes = 512L << 20;

    /// <summary>Bytes a second, read by a number of threads at once; the best of five passes.</summary>
    public static double Measure(int threads)
    {
        nuint length = (nuint)Bytes;
        byte* buffer = (byte*)System.Runtime.InteropServices.NativeMemory.AlignedAlloc(length, 64);
        try
        {
            System.Runtime.InteropServices.NativeMemory.Fill(buffer, length, 1);
            long share = Bytes / threads;
            double[] seconds = Figures.Seconds(5, () =>
            {
                Thread[] readers = [.. Enumerable.Range(0, threads).Select(t => new Thread(() => Sum(buffer + t * share, share)))];
                foreach (Thread reader in readers) reader.Start();
                foreach (Thread reader in readers) reader.Join();
            });
            return Bytes / seconds.Min();
        }
        finally
        {
            System.Runtime.InteropServices.NativeMemory.AlignedFree(buffer);
        }
    }

    private static int Sum(byte* start, long count)
    {
        Vector256<int> a = default, b = default, c = default, d = default;
        for (byte* p = start; p + 128 <= start + count; p += 128)
        {
            a += Vector256.Load((int*)p);
            b += Vector256.Load((int*)(p + 32));
            c += Vector256.Load((int*)(p + 64));
            d += Vector256.Load((int*)(p + 96));
        }

        return Vector256.Sum(a + b + c + d);
    }
}
