using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace QuantBuild.Cuda.Emulator;

/// <summary>What an <c>mma</c> multiplies: M×K times K×8, of elements of a type.</summary>
internal sealed record MatrixShape(int M, int K, string A, string B, string D)
{
    public int ElementsPerRegister => A switch { "f16" or "bf16" => 2, "s8" or "u8" => 4, _ => 1 };
}

/// <summary>
/// <c>mma</c> and <c>ldmatrix</c>. With g = lane / 4, t = lane mod 4 and e elements in a register, register r of A holds row g + 8 (r mod 2), columns t·e + 4e (r / 2) and on; register r of B
/// rows t·e + 4e·r and on of column g; and of the accumulator, register r holds row g + 8 (r / 2), column 2t + r mod 2 (a pair of float16 in one register: row g + 8r). Source: PTX ISA, the
/// sections about matrix fragments.
/// </summary>
internal static unsafe class MatrixOperations
{
    /// <summary>Slots are D, A, B and C, one after the other. A product is exact, and a sum is rounded once.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void MultiplyFloat(Warp w, Instruction i)
    {
        if (!WarpOperations.WholeWarp(w)) return;
        MatrixShape shape = i.Shape!;
        int e = shape.ElementsPerRegister, k = shape.K, aRegisters = k / (4 * e) * 2, bRegisters = k / (4 * e), dRegisters = shape.D == "f16" ? 2 : 4;
        double* a = stackalloc double[16 * k], b = stackalloc double[k * 8], c = stackalloc double[16 * 8];
        float* values = stackalloc float[Lanes.Count * 2];
        int slot = dRegisters;
        for (int r = 0; r < aRegisters; r++, slot++)
        {
            Widen(w, i.Slots[slot], shape.A, values);
            for (int lane = 0; lane < Lanes.Count; lane++)
            {
                double* row = a + (((lane >> 2) + ((r & 1) * 8)) * k) + ((lane & 3) * e) + ((r >> 1) * 4 * e);
                for (int j = 0; j < e; j++) row[j] = values[(j * Lanes.Count) + lane];
            }
        }
        for (int r = 0; r < bRegisters; r++, slot++)
        {
            Widen(w, i.Slots[slot], shape.B, values);
            for (int lane = 0; lane < Lanes.Count; lane++)
            {
                double* column = b + ((((lane & 3) * e) + (r * 4 * e)) * 8) + (lane >> 2);
                for (int j = 0; j < e; j++) column[j * 8] = values[(j * Lanes.Count) + lane];
            }
        }
        for (int r = 0; r < dRegisters; r++, slot++)
        {
            Widen(w, i.Slots[slot], shape.D, values);
            for (int lane = 0; lane < Lanes.Count; lane++)
            {
                int g = lane >> 2, column = (lane & 3) * 2;
                if (dRegisters == 4)
                {
                    c[((g + ((r >> 1) * 8)) * 8) + column + (r & 1)] = values[lane];
                    continue;
                }
                c[((g + (r * 8)) * 8) + column] = values[lane];
                c[((g + (r * 8)) * 8) + column + 1] = values[Lanes.Count + lane];
            }
        }
        for (int row = 0; row < 16; row++)
        {
            Vector512<double> sum = Vector512.Load(c + (row * 8));
            for (int j = 0; j < k; j++) sum = Vector512.FusedMultiplyAdd(Vector512.Create(a[(row * k) + j]), Vector512.Load(b + (j * 8)), sum);
            sum.Store(c + (row * 8));
        }
        for (int r = 0; r < dRegisters; r++)
        {
            byte* d = w.Registers + i.Slots[r];
            for (int lane = 0; lane < Lanes.Count; lane++)
            {
                int g = lane >> 2, column = (lane & 3) * 2;
                if (dRegisters == 4) ((float*)d)[lane] = (float)c[((g + ((r >> 1) * 8)) * 8) + column + (r & 1)];
                else ((uint*)d)[lane] = Halves.Join((Half)c[((g + (r * 8)) * 8) + column], (Half)c[((g + (r * 8)) * 8) + column + 1]);
            }
        }
    }

    /// <summary>A register of 32 lanes as float32: the low elements, then the high ones.</summary>
    private static void Widen(Warp w, int slot, string type, float* values)
    {
        uint* bits = (uint*)(w.Registers + slot);
        for (int k = 0; k < Lanes.Count; k += 16)
        {
            Vector512<uint> x = Vector512.Load(bits + k);
            switch (type)
            {
                case "f32":
                    x.AsSingle().Store(values + k);
                    break;
                case "tf32":
                    // The hardware reads 19 bits.
                    (x & Vector512.Create(0xFFFF_E000u)).AsSingle().Store(values + k);
                    break;
                case "bf16":
                    (x << 16).AsSingle().Store(values + k);
                    (x & Vector512.Create(0xFFFF_0000u)).AsSingle().Store(values + Lanes.Count + k);
                    break;
                default:
                    VHalfToSingle.Widen(x).Store(values + k);
                    VHalfToSingle.Widen(x >> 16).Store(values + Lanes.Count + k);
                    break;
            }
        }
    }

    /// <summary>Slots as before. A sum wraps around.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void MultiplyInteger(Warp w, Instruction i)
    {
        if (!WarpOperations.WholeWarp(w)) return;
        MatrixShape shape = i.Shape!;
        int k = shape.K, halves = shape.M / 8, aRegisters = k / 16 * halves, bRegisters = k / 16, dRegisters = 2 * halves, slot = dRegisters;
        // A's rows and B's columns, of 16-bit numbers: two neighbours are a factor of 32 bits.
        short* a = stackalloc short[16 * k], column = stackalloc short[16];
        int* b = stackalloc int[k / 2 * 8], c = stackalloc int[16 * 8];
        for (int r = 0; r < aRegisters; r++, slot++)
        {
            (int down, int right) = halves == 2 ? (r & 1, r >> 1) : (0, r);
            byte* bytes = w.Registers + i.Slots[slot];
            for (int g = 0; g < 8; g++) Widen16(bytes + (g * 16), shape.A).Store(a + ((g + (down * 8)) * k) + (right * 16));
        }
        for (int r = 0; r < bRegisters; r++, slot++)
        {
            byte* bytes = w.Registers + i.Slots[slot];
            for (int g = 0; g < 8; g++)
            {
                Widen16(bytes + (g * 16), shape.B).Store(column);
                for (int pair = 0; pair < 8; pair++) b[(((r * 8) + pair) * 8) + g] = ((int*)column)[pair];
            }
        }
        for (int r = 0; r < dRegisters; r++, slot++)
        {
            int* values = (int*)(w.Registers + i.Slots[slot]), half = c + ((r >> 1) * 64) + (r & 1);
            for (int lane = 0; lane < Lanes.Count; lane++) half[lane * 2] = values[lane];
        }
        for (int row = 0; row < shape.M; row++)
        {
            Vector256<int> sum = Vector256.Load(c + (row * 8));
            int* factors = (int*)(a + (row * k));
            for (int pair = 0; pair < k / 2; pair++) sum += PairProducts(Vector256.Create(factors[pair]), Vector256.Load(b + (pair * 8)));
            sum.Store(c + (row * 8));
        }
        for (int r = 0; r < dRegisters; r++)
        {
            int* values = (int*)(w.Registers + i.Slots[r]), half = c + ((r >> 1) * 64) + (r & 1);
            for (int lane = 0; lane < Lanes.Count; lane++) values[lane] = half[lane * 2];
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<short> Widen16(byte* bytes, string type)
    {
        if (type == "s8")
        {
            (Vector128<short> low, Vector128<short> high) = Vector128.Widen(Vector128.Load((sbyte*)bytes));
            return Vector256.Create(low, high);
        }
        (Vector128<ushort> first, Vector128<ushort> second) = Vector128.Widen(Vector128.Load(bytes));
        return Vector256.Create(first, second).AsInt16();
    }

    /// <summary>The products of the low halves plus those of the high halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> PairProducts(Vector256<int> x, Vector256<int> y) => Avx2.IsSupported
        ? Avx2.MultiplyAddAdjacent(x.AsInt16(), y.AsInt16())
        : (((x << 16) >> 16) * ((y << 16) >> 16)) + ((x >> 16) * (y >> 16));

    /// <summary><c>ldmatrix</c>: lanes 8m to 8m + 7 hold the addresses of the rows of matrix m; Immediate tells whether it is transposed.</summary>
    public static void LoadMatrix(Warp w, Instruction i)
    {
        if (!WarpOperations.WholeWarp(w)) return;
        int matrices = i.Slots.Length;
        Instruction access = i.Parts[0];
        // Only the first lanes' addresses count.
        if (access.A >= 0 && matrices < 4)
        {
            // Lanes beyond the last matrix may hold anything: they borrow lane 0's address for the check.
            MemoryAccess.PutAddresses(w, access);
            for (int lane = matrices * 8; lane < Lanes.Count; lane++) w.Addresses[lane] = w.Addresses[0];
            MemoryAccess.Check(w, access, 16, false);
        }
        else
        {
            MemoryAccess.Addresses(w, access, false);
        }
        for (int m = 0; m < matrices; m++)
        {
            uint* d = (uint*)(w.Registers + i.Slots[m]);
            for (int lane = 0; lane < Lanes.Count; lane++)
            {
                if (i.Immediate == 0)
                {
                    d[lane] = ((uint*)w.Addresses[(m * 8) + (lane >> 2)])[lane & 3];
                    continue;
                }
                ushort first = ((ushort*)w.Addresses[(m * 8) + ((lane & 3) * 2)])[lane >> 2], second = ((ushort*)w.Addresses[(m * 8) + ((lane & 3) * 2) + 1])[lane >> 2];
                d[lane] = first | ((uint)second << 16);
            }
        }
    }
}

/// <summary>float16 in the low half of each lane to float32.</summary>
internal readonly struct VHalfToSingle : IVector1
{
    public static Vector512<T> Do<T>(Vector512<T> a) => Widen(a.As<T, uint>()).As<float, T>();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Widen(Vector512<uint> x)
    {
        // Exponent and fraction at float32's places, and the exponent's bias corrected by a product, which also makes subnormals right; infinities and NaNs keep the highest exponent.
        Vector512<uint> magnitude = (x & Vector512.Create(0x7FFFu)) << 13, sign = (x & Vector512.Create(0x8000u)) << 16;
        Vector512<uint> scaled = (magnitude.AsSingle() * Vector512.Create(5.192296858534828e33f)).AsUInt32();
        Vector512<uint> special = Vector512.GreaterThanOrEqual(magnitude, Vector512.Create(0x7C00u << 13));
        return (Vector512.ConditionalSelect(special, magnitude | Vector512.Create(0x7F80_0000u), scaled) | sign).AsSingle();
    }
}
