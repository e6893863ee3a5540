using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace QuantBuild.Cuda.Emulator;

// Vectors.

internal readonly struct VMove : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => a; }

internal readonly struct VNot : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => ~a; }

internal readonly struct VNegate : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => -a; }

/// <summary>A floating-point number's sign turned, a NaN's too.</summary>
internal readonly struct VNegateFloat : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => a ^ SignBit<T>(); public static Vector512<T> SignBit<T>() => typeof(T) == typeof(double) ? Vector512.Create(-0.0).As<double, T>() : Vector512.Create(-0f).As<float, T>(); }

internal readonly struct VAbs : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => Vector512.Abs(a); }

internal readonly struct VAdd : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => a + b; }

internal readonly struct VSubtract : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => a - b; }

internal readonly struct VMultiply : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => a * b; }

internal readonly struct VAnd : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => a & b; }

internal readonly struct VOr : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => a | b; }

internal readonly struct VXor : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => a ^ b; }

/// <summary>The smaller; of a number and a NaN the number.</summary>
internal readonly struct VMin : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => Vector512.MinNumber(a, b); }

internal readonly struct VMax : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => Vector512.MaxNumber(a, b); }

/// <summary>With a NaN, a NaN.</summary>
internal readonly struct VMinOrNaN : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => Vector512.Min(a, b); }

internal readonly struct VMaxOrNaN : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => Vector512.Max(a, b); }

internal readonly struct VMultiplyAdd : IVector3 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b, Vector512<T> c) => (a * b) + c; }

/// <summary>One rounding.</summary>
internal readonly struct VFused : IVector3
{
    public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b, Vector512<T> c) => typeof(T) == typeof(double)
        ? Vector512.FusedMultiplyAdd(a.As<T, double>(), b.As<T, double>(), c.As<T, double>()).As<double, T>()
        : Vector512.FusedMultiplyAdd(a.As<T, float>(), b.As<T, float>(), c.As<T, float>()).As<float, T>();
}

internal readonly struct VDivide : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => a / b; }

internal readonly struct VSqrt : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => Vector512.Sqrt(a); }

internal readonly struct VReciprocal : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => Vector512<T>.One / a; }

internal readonly struct VReciprocalSqrt : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => Vector512<T>.One / Vector512.Sqrt(a); }

/// <summary>Flushes float32 subnormals to zeros of their sign, before and after <typeparamref name="TOp"/>.</summary>
internal readonly struct VFlush1<TOp> : IVector1 where TOp : struct, IVector1
{
    public static Vector512<T> Do<T>(Vector512<T> a) => Subnormal.Flush(TOp.Do(Subnormal.Flush(a)));
}

internal readonly struct VFlush2<TOp> : IVector2 where TOp : struct, IVector2
{
    public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => Subnormal.Flush(TOp.Do(Subnormal.Flush(a), Subnormal.Flush(b)));
}

/// <summary>A comparison flushes only what it compares.</summary>
internal readonly struct VFlushCompare<TOp> : IVector2 where TOp : struct, IVector2
{
    public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => TOp.Do(Subnormal.Flush(a), Subnormal.Flush(b));
}

internal readonly struct VFlush3<TOp> : IVector3 where TOp : struct, IVector3
{
    public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b, Vector512<T> c) => Subnormal.Flush(TOp.Do(Subnormal.Flush(a), Subnormal.Flush(b), Subnormal.Flush(c)));
}

/// <summary><c>.sat</c>: into [0, 1], a NaN to 0.</summary>
internal readonly struct VSaturate2<TOp> : IVector2 where TOp : struct, IVector2
{
    public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => Vector512.MinNumber(Vector512.MaxNumber(TOp.Do(a, b), Vector512<T>.Zero), Vector512<T>.One);
}

internal readonly struct VSaturate3<TOp> : IVector3 where TOp : struct, IVector3
{
    public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b, Vector512<T> c) => Vector512.MinNumber(Vector512.MaxNumber(TOp.Do(a, b, c), Vector512<T>.Zero), Vector512<T>.One);
}

internal static class Subnormal
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Flush<T>(Vector512<T> a)
    {
        Vector512<uint> bits = a.As<T, uint>();
        Vector512<uint> tiny = Vector512.Equals(bits & Vector512.Create(0x7F80_0000u), Vector512<uint>.Zero);
        return Vector512.AndNot(bits, tiny & Vector512.Create(0x7FFF_FFFFu)).As<uint, T>();
    }

    public static float Flush(float x) => float.IsSubnormal(x) ? MathF.CopySign(0, x) : x;
}

// Comparisons. An ordered one is false for a NaN; an unordered one ("ltu") is true.

internal readonly struct VEqual : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => Vector512.Equals(a, b); }

internal readonly struct VLess : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => Vector512.LessThan(a, b); }

internal readonly struct VLessOrEqual : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => Vector512.LessThanOrEqual(a, b); }

internal readonly struct VGreater : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => Vector512.GreaterThan(a, b); }

internal readonly struct VGreaterOrEqual : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => Vector512.GreaterThanOrEqual(a, b); }

/// <summary>The opposite of a comparison: <c>geu</c> is no <c>lt</c>.</summary>
internal readonly struct VOpposite<TOp> : IVector2 where TOp : struct, IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => ~TOp.Do(a, b); }

internal readonly struct VOrdered : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => Vector512.Equals(a, a) & Vector512.Equals(b, b); }

internal readonly struct VOrderedUnequal : IVector2 { public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => VOrdered.Do(a, b) & ~Vector512.Equals(a, b); }

internal readonly struct Equal<T> : ICompare<T> where T : IEqualityOperators<T, T, bool> { public static bool Do(T a, T b) => a == b; }

internal readonly struct Less<T> : ICompare<T> where T : IComparisonOperators<T, T, bool> { public static bool Do(T a, T b) => a < b; }

internal readonly struct LessOrEqual<T> : ICompare<T> where T : IComparisonOperators<T, T, bool> { public static bool Do(T a, T b) => a <= b; }

internal readonly struct Greater<T> : ICompare<T> where T : IComparisonOperators<T, T, bool> { public static bool Do(T a, T b) => a > b; }

internal readonly struct GreaterOrEqual<T> : ICompare<T> where T : IComparisonOperators<T, T, bool> { public static bool Do(T a, T b) => a >= b; }

internal readonly struct Ordered<T> : ICompare<T> where T : INumberBase<T> { public static bool Do(T a, T b) => !T.IsNaN(a) && !T.IsNaN(b); }

internal readonly struct OrderedUnequal<T> : ICompare<T> where T : INumberBase<T> { public static bool Do(T a, T b) => !T.IsNaN(a) && !T.IsNaN(b) && a != b; }

internal readonly struct Opposite<TOp, T> : ICompare<T> where TOp : struct, ICompare<T> { public static bool Do(T a, T b) => !TOp.Do(a, b); }

// Lane by lane.

internal readonly struct AddOp<T> : IBinary<T, T, T> where T : IAdditionOperators<T, T, T> { public static T Do(T a, T b) => unchecked(a + b); }

internal readonly struct SubtractOp<T> : IBinary<T, T, T> where T : ISubtractionOperators<T, T, T> { public static T Do(T a, T b) => unchecked(a - b); }

internal readonly struct MultiplyOp<T> : IBinary<T, T, T> where T : IMultiplyOperators<T, T, T> { public static T Do(T a, T b) => unchecked(a * b); }

internal readonly struct MinOp<T> : IBinary<T, T, T> where T : INumber<T> { public static T Do(T a, T b) => T.MinNumber(a, b); }

internal readonly struct MaxOp<T> : IBinary<T, T, T> where T : INumber<T> { public static T Do(T a, T b) => T.MaxNumber(a, b); }

internal readonly struct MinBrain : IBinary<Brain, Brain, Brain> { public static Brain Do(Brain a, Brain b) => (Brain)float.MinNumber((float)a, (float)b); }

internal readonly struct MaxBrain : IBinary<Brain, Brain, Brain> { public static Brain Do(Brain a, Brain b) => (Brain)float.MaxNumber((float)a, (float)b); }

internal readonly struct NegateOp<T> : IUnary<T, T> where T : IUnaryNegationOperators<T, T> { public static T Do(T a) => unchecked(-a); }

/// <summary>Sign bits of a 16-bit float, turned or cleared.</summary>
internal readonly struct NegateHalf : IUnary<ushort, ushort> { public static ushort Do(ushort a) => (ushort)(a ^ 0x8000); }

internal readonly struct AbsHalf : IUnary<ushort, ushort> { public static ushort Do(ushort a) => (ushort)(a & 0x7FFF); }

internal readonly struct AbsOp<T> : IUnary<T, T> where T : INumber<T> { public static T Do(T a) => T.IsNegative(a) ? unchecked(-a) : a; }

/// <summary>The product is exact in double, and so is nearly every sum.</summary>
internal readonly struct FusedHalf : ITernary<Half, Half, Half, Half> { public static Half Do(Half a, Half b, Half c) => (Half)(((double)a * (double)b) + (double)c); }

internal readonly struct FusedBrain : ITernary<Brain, Brain, Brain, Brain> { public static Brain Do(Brain a, Brain b, Brain c) => (Brain)MathF.FusedMultiplyAdd((float)a, (float)b, (float)c); }

internal readonly struct ReluHalf : ITernary<Half, Half, Half, Half> { public static Half Do(Half a, Half b, Half c) => Half.MaxNumber(FusedHalf.Do(a, b, c), Half.Zero); }

/// <summary>An operation on both 16-bit halves of a register.</summary>
internal readonly struct Pair1<TOp, T> : IUnary<uint, uint> where TOp : struct, IUnary<T, T> where T : unmanaged
{
    public static uint Do(uint a) => Halves.Join(TOp.Do(Halves.Low<T>(a)), TOp.Do(Halves.High<T>(a)));
}

internal readonly struct Pair<TOp, T> : IBinary<uint, uint, uint> where TOp : struct, IBinary<T, T, T> where T : unmanaged
{
    public static uint Do(uint a, uint b) => Halves.Join(TOp.Do(Halves.Low<T>(a), Halves.Low<T>(b)), TOp.Do(Halves.High<T>(a), Halves.High<T>(b)));
}

internal readonly struct Pair3<TOp, T> : ITernary<uint, uint, uint, uint> where TOp : struct, ITernary<T, T, T, T> where T : unmanaged
{
    public static uint Do(uint a, uint b, uint c) => Halves.Join(TOp.Do(Halves.Low<T>(a), Halves.Low<T>(b), Halves.Low<T>(c)), TOp.Do(Halves.High<T>(a), Halves.High<T>(b), Halves.High<T>(c)));
}

internal static class Halves
{
    public static T Low<T>(uint x) where T : unmanaged => Unsafe.BitCast<ushort, T>((ushort)x);

    public static T High<T>(uint x) where T : unmanaged => Unsafe.BitCast<ushort, T>((ushort)(x >> 16));

    public static uint Join<T>(T low, T high) where T : unmanaged => Unsafe.BitCast<T, ushort>(low) | ((uint)Unsafe.BitCast<T, ushort>(high) << 16);
}

internal readonly struct MultiplyHigh<T> : IBinary<T, T, T> where T : unmanaged
{
    public static T Do(T a, T b)
    {
        if (typeof(T) == typeof(uint)) return (T)(object)(uint)(((ulong)(uint)(object)a * (uint)(object)b) >> 32);
        if (typeof(T) == typeof(int)) return (T)(object)(int)(((long)(int)(object)a * (int)(object)b) >> 32);
        if (typeof(T) == typeof(ulong)) return (T)(object)Math.BigMul((ulong)(object)a, (ulong)(object)b, out _);
        if (typeof(T) == typeof(long)) return (T)(object)Math.BigMul((long)(object)a, (long)(object)b, out _);
        if (typeof(T) == typeof(ushort)) return (T)(object)(ushort)(((uint)(ushort)(object)a * (ushort)(object)b) >> 16);
        return (T)(object)(short)(((short)(object)a * (short)(object)b) >> 16);
    }
}

internal readonly struct MultiplyAdd<T> : ITernary<T, T, T, T> where T : INumber<T> { public static T Do(T a, T b, T c) => unchecked((a * b) + c); }

internal readonly struct MultiplyHighAdd<T> : ITernary<T, T, T, T> where T : unmanaged, INumber<T> { public static T Do(T a, T b, T c) => unchecked(MultiplyHigh<T>.Do(a, b) + c); }

/// <summary>16-bit factors, a 32-bit product.</summary>
internal readonly struct WideUnsigned : IBinary<ushort, ushort, uint> { public static uint Do(ushort a, ushort b) => (uint)a * b; }

internal readonly struct WideSigned : IBinary<short, short, int> { public static int Do(short a, short b) => a * b; }

internal readonly struct WideUnsignedAdd : ITernary<ushort, ushort, uint, uint> { public static uint Do(ushort a, ushort b, uint c) => ((uint)a * b) + c; }

internal readonly struct WideSignedAdd : ITernary<short, short, int, int> { public static int Do(short a, short b, int c) => (a * b) + c; }

/// <summary>24-bit factors.</summary>
internal readonly struct Multiply24<T> : IBinary<T, T, T> where T : IBinaryInteger<T> { public static T Do(T a, T b) => unchecked(((a << 8) >> 8) * ((b << 8) >> 8)); }

internal readonly struct Multiply24Add<T> : ITernary<T, T, T, T> where T : IBinaryInteger<T> { public static T Do(T a, T b, T c) => unchecked(Multiply24<T>.Do(a, b) + c); }

/// <summary>PTX leaves a division by zero open; here all bits are set.</summary>
internal readonly struct DivideInteger<T> : IBinary<T, T, T> where T : IBinaryInteger<T> { public static T Do(T a, T b) => T.IsZero(b) ? ~T.Zero : b == ~T.Zero && T.IsNegative(b) ? unchecked(-a) : a / b; }

internal readonly struct RemainderInteger<T> : IBinary<T, T, T> where T : IBinaryInteger<T> { public static T Do(T a, T b) => T.IsZero(b) ? a : b == ~T.Zero && T.IsNegative(b) ? T.Zero : a % b; }

internal readonly struct AddSaturating : IBinary<int, int, int> { public static int Do(int a, int b) => (int)Math.Clamp((long)a + b, int.MinValue, int.MaxValue); }

internal readonly struct SubtractSaturating : IBinary<int, int, int> { public static int Do(int a, int b) => (int)Math.Clamp((long)a - b, int.MinValue, int.MaxValue); }

internal readonly struct AbsoluteDifference<T> : ITernary<T, T, T, T> where T : INumber<T> { public static T Do(T a, T b, T c) => unchecked(c + (a < b ? b - a : a - b)); }

/// <summary>Shifts by the width or more give zeros, or the sign.</summary>
internal readonly struct ShiftLeft<T> : IBinary<T, uint, T> where T : unmanaged, IBinaryInteger<T> { public static T Do(T a, uint b) => b >= (uint)Unsafe.SizeOf<T>() * 8 ? T.Zero : a << (int)b; }

internal readonly struct ShiftRight<T> : IBinary<T, uint, T> where T : unmanaged, IBinaryInteger<T>
{
    public static T Do(T a, uint b) => b >= (uint)Unsafe.SizeOf<T>() * 8 ? (T.IsNegative(a) ? ~T.Zero : T.Zero) : a >> (int)b;
}

internal readonly struct VShiftLeft : IVector2
{
    public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => Shifts.Left(a.As<T, uint>(), b.As<T, uint>()).As<uint, T>();
}

internal readonly struct VShiftRight : IVector2
{
    public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => Shifts.Right(a.As<T, uint>(), b.As<T, uint>()).As<uint, T>();
}

internal readonly struct VShiftRightSigned : IVector2
{
    public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b) => Shifts.RightSigned(a.As<T, int>(), b.As<T, uint>()).As<int, T>();
}

/// <summary>32-bit shifts by a count a lane; the hardware's instructions give what PTX wants for counts of 32 and more.</summary>
internal static class Shifts
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Left(Vector512<uint> a, Vector512<uint> b)
    {
        if (Avx512F.IsSupported) return Avx512F.ShiftLeftLogicalVariable(a, b);
        if (Avx2.IsSupported) return Vector512.Create(Avx2.ShiftLeftLogicalVariable(a.GetLower(), b.GetLower()), Avx2.ShiftLeftLogicalVariable(a.GetUpper(), b.GetUpper()));
        for (int i = 0; i < Vector512<uint>.Count; i++) a = a.WithElement(i, ShiftLeft<uint>.Do(a[i], b[i]));
        return a;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Right(Vector512<uint> a, Vector512<uint> b)
    {
        if (Avx512F.IsSupported) return Avx512F.ShiftRightLogicalVariable(a, b);
        if (Avx2.IsSupported) return Vector512.Create(Avx2.ShiftRightLogicalVariable(a.GetLower(), b.GetLower()), Avx2.ShiftRightLogicalVariable(a.GetUpper(), b.GetUpper()));
        for (int i = 0; i < Vector512<uint>.Count; i++) a = a.WithElement(i, ShiftRight<uint>.Do(a[i], b[i]));
        return a;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> RightSigned(Vector512<int> a, Vector512<uint> b)
    {
        if (Avx512F.IsSupported) return Avx512F.ShiftRightArithmeticVariable(a, b);
        if (Avx2.IsSupported) return Vector512.Create(Avx2.ShiftRightArithmeticVariable(a.GetLower(), b.GetLower()), Avx2.ShiftRightArithmeticVariable(a.GetUpper(), b.GetUpper()));
        for (int i = 0; i < Vector512<int>.Count; i++) a = a.WithElement(i, ShiftRight<int>.Do(a[i], b[i]));
        return a;
    }
}

internal readonly struct VShiftLeft64 : IVector2
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b)
    {
        if (Avx512F.IsSupported) return Avx512F.ShiftLeftLogicalVariable(a.As<T, ulong>(), b.As<T, ulong>()).As<ulong, T>();
        Vector512<ulong> x = a.As<T, ulong>(), y = b.As<T, ulong>();
        for (int i = 0; i < Vector512<ulong>.Count; i++) x = x.WithElement(i, ShiftLeft<ulong>.Do(x[i], (uint)y[i]));
        return x.As<ulong, T>();
    }
}

internal readonly struct VShiftRight64 : IVector2
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b)
    {
        if (Avx512F.IsSupported) return Avx512F.ShiftRightLogicalVariable(a.As<T, ulong>(), b.As<T, ulong>()).As<ulong, T>();
        Vector512<ulong> x = a.As<T, ulong>(), y = b.As<T, ulong>();
        for (int i = 0; i < Vector512<ulong>.Count; i++) x = x.WithElement(i, ShiftRight<ulong>.Do(x[i], (uint)y[i]));
        return x.As<ulong, T>();
    }
}

internal readonly struct VShiftRight64Signed : IVector2
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b)
    {
        if (Avx512F.IsSupported) return Avx512F.ShiftRightArithmeticVariable(a.As<T, long>(), b.As<T, ulong>()).As<long, T>();
        Vector512<long> x = a.As<T, long>();
        Vector512<ulong> y = b.As<T, ulong>();
        for (int i = 0; i < Vector512<long>.Count; i++) x = x.WithElement(i, ShiftRight<long>.Do(x[i], (uint)y[i]));
        return x.As<long, T>();
    }
}

internal readonly struct NotOp<T> : IUnary<T, T> where T : IBitwiseOperators<T, T, T> { public static T Do(T a) => ~a; }

/// <summary><c>cnot</c>: 1 for 0, else 0.</summary>
internal readonly struct LogicalNot<T> : IUnary<T, T> where T : INumber<T> { public static T Do(T a) => T.IsZero(a) ? T.One : T.Zero; }

internal readonly struct PopulationCount<T> : IUnary<T, uint> where T : IBinaryInteger<T> { public static uint Do(T a) => uint.CreateTruncating(T.PopCount(a)); }

internal readonly struct LeadingZeros<T> : IUnary<T, uint> where T : IBinaryInteger<T> { public static uint Do(T a) => uint.CreateTruncating(T.LeadingZeroCount(a)); }

/// <summary><c>bfind</c>: the highest bit that differs from the sign; all ones where none does.</summary>
internal readonly struct FindBit<T> : IUnary<T, uint> where T : unmanaged, IBinaryInteger<T>
{
    public static uint Do(T a) => (uint)((Unsafe.SizeOf<T>() * 8) - 1 - int.CreateTruncating(T.LeadingZeroCount(T.IsNegative(a) ? ~a : a)));
}

internal readonly struct ReverseBits<T> : IUnary<T, T> where T : unmanaged, IBinaryInteger<T>
{
    public static T Do(T a)
    {
        T reversed = T.Zero;
        for (int i = 0; i < Unsafe.SizeOf<T>() * 8; i++, a >>>= 1) reversed = (reversed << 1) | (a & T.One);
        return reversed;
    }
}

internal readonly struct ExtractBits<T> : ITernary<T, uint, uint, T> where T : unmanaged, IBinaryInteger<T>
{
    public static T Do(T a, uint position, uint length)
    {
        int bits = Unsafe.SizeOf<T>() * 8, at = (int)(position & 0xFF), count = (int)(length & 0xFF);
        if (count == 0) return T.Zero;
        bool signed = T.IsNegative(~T.Zero), negative = signed && (a >>> Math.Min(at + count - 1, bits - 1) & T.One) != T.Zero;
        T field = at >= bits ? T.Zero : a >>> at;
        int present = Math.Min(count, Math.Max(0, bits - at));
        if (present < bits) field &= (T.One << present) - T.One;
        return negative && present < bits ? field | (~T.Zero << present) : field;
    }
}

internal readonly struct FunnelLeft : ITernary<uint, uint, uint, uint> { public static uint Do(uint a, uint b, uint c) => (uint)(((((ulong)b << 32) | a) << (int)(c & 31)) >> 32); }

internal readonly struct FunnelRight : ITernary<uint, uint, uint, uint> { public static uint Do(uint a, uint b, uint c) => (uint)((((ulong)b << 32) | a) >> (int)(c & 31)); }

/// <summary><c>.clamp</c>: counts over 32 are 32.</summary>
internal readonly struct FunnelLeftClamped : ITernary<uint, uint, uint, uint> { public static uint Do(uint a, uint b, uint c) => c >= 32 ? a : FunnelLeft.Do(a, b, c); }

internal readonly struct FunnelRightClamped : ITernary<uint, uint, uint, uint> { public static uint Do(uint a, uint b, uint c) => c >= 32 ? b : FunnelRight.Do(a, b, c); }

/// <summary><c>prmt</c>: each nibble of the selector picks a byte of b:a, or with its high bit that byte's sign.</summary>
internal readonly struct Permute : ITernary<uint, uint, uint, uint>
{
    public static uint Do(uint a, uint b, uint selector)
    {
        ulong bytes = ((ulong)b << 32) | a;
        uint result = 0;
        for (int i = 0; i < 4; i++)
        {
            uint pick = (selector >> (4 * i)) & 15;
            uint value = (uint)(bytes >> (int)(8 * (pick & 7))) & 0xFF;
            if (pick >= 8) value = (value & 0x80) != 0 ? 0xFFu : 0;
            result |= value << (8 * i);
        }
        return result;
    }
}

/// <summary>A dot product of four bytes, signed or not, added to a sum.</summary>
internal readonly struct VDot4<TA, TB> : IVector3 where TA : struct, IFlag where TB : struct, IFlag
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b, Vector512<T> c)
    {
        Vector512<int> x = a.As<T, int>(), y = b.As<T, int>();
        return (c.As<T, int>() + (Byte<TA>(x, 24) * Byte<TB>(y, 24)) + (Byte<TA>(x, 16) * Byte<TB>(y, 16)) + (Byte<TA>(x, 8) * Byte<TB>(y, 8)) + (Byte<TA>(x, 0) * Byte<TB>(y, 0))).As<int, T>();
    }

    /// <summary>The byte that a shift by <paramref name="shift"/> brings to the top, as a number.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Byte<TSigned>(Vector512<int> x, int shift) where TSigned : struct, IFlag => TSigned.On ? (x << shift) >> 24 : (x << shift) >>> 24;
}

/// <summary>Two 16-bit numbers of a, times the low or high two bytes of b.</summary>
internal readonly struct Dot2<TA, TB, THigh> : ITernary<uint, uint, uint, uint> where TA : struct, IFlag where TB : struct, IFlag where THigh : struct, IFlag
{
    public static uint Do(uint a, uint b, uint c)
    {
        int sum = (int)c;
        for (int i = 0; i < 2; i++)
        {
            ushort x = (ushort)(a >> (16 * i));
            byte y = (byte)(b >> ((8 * i) + (THigh.On ? 16 : 0)));
            sum += (TA.On ? (short)x : x) * (TB.On ? (sbyte)y : y);
        }
        return (uint)sum;
    }
}

internal readonly struct CopySignOp<T> : IBinary<T, T, T> where T : IFloatingPoint<T> { public static T Do(T a, T b) => T.CopySign(b, a); }

// What the hardware approximates is computed in double and rounded.

internal readonly struct VExp2 : IUnary<Vector512<double>, Vector512<double>> { public static Vector512<double> Do(Vector512<double> a) => Vector512.Exp(a * Vector512.Create(Math.Log(2))); }

internal readonly struct VLog2 : IUnary<Vector512<double>, Vector512<double>> { public static Vector512<double> Do(Vector512<double> a) => Vector512.Log2(a); }

internal readonly struct Exp2 : IUnary<float, float> { public static float Do(float a) => (float)Math.Pow(2, a); }

internal readonly struct Log2 : IUnary<float, float> { public static float Do(float a) => (float)Math.Log2(a); }

internal readonly struct Sin : IUnary<float, float> { public static float Do(float a) => (float)Math.Sin(a); }

internal readonly struct Cos : IUnary<float, float> { public static float Do(float a) => (float)Math.Cos(a); }

internal readonly struct Tanh : IUnary<float, float> { public static float Do(float a) => (float)Math.Tanh(a); }

internal readonly struct Flushed<TOp> : IUnary<float, float> where TOp : struct, IUnary<float, float> { public static float Do(float a) => Subnormal.Flush(TOp.Do(Subnormal.Flush(a))); }

internal readonly struct HalfOf<TOp> : IUnary<Half, Half> where TOp : struct, IUnary<float, float> { public static Half Do(Half a) => (Half)TOp.Do((float)a); }

internal readonly struct BrainOf<TOp> : IUnary<Brain, Brain> where TOp : struct, IUnary<float, float> { public static Brain Do(Brain a) => (Brain)TOp.Do((float)a); }

internal readonly struct ConvertInteger<TA, TD> : IUnary<TA, TD> where TA : INumberBase<TA> where TD : INumberBase<TD> { public static TD Do(TA a) => TD.CreateTruncating(a); }

internal readonly struct VBrainToSingle : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => (a.As<T, uint>() << 16).As<uint, T>(); }

internal readonly struct SingleToHalf : IUnary<float, Half> { public static Half Do(float a) => (Half)a; }

internal readonly struct SingleToBrain : IUnary<float, Brain> { public static Brain Do(float a) => (Brain)a; }

internal readonly struct VIntToSingle : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => Vector512.ConvertToSingle(a.As<T, int>()).As<float, T>(); }

internal readonly struct VUIntToSingle : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => Vector512.ConvertToSingle(a.As<T, uint>()).As<float, T>(); }

/// <summary>The low 16 or 8 bits, with their sign or zeros, as 32.</summary>
internal readonly struct VSign16 : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => ((a.As<T, int>() << 16) >> 16).As<int, T>(); }

internal readonly struct VSign8 : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => ((a.As<T, int>() << 24) >> 24).As<int, T>(); }

internal readonly struct VZero16 : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => (a.As<T, uint>() & Vector512.Create(0xFFFFu)).As<uint, T>(); }

internal readonly struct VZero8 : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => (a.As<T, uint>() & Vector512.Create(0xFFu)).As<uint, T>(); }

internal readonly struct VShortToSingle : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => VIntToSingle.Do(VSign16.Do(a)); }

internal readonly struct VUShortToSingle : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => VIntToSingle.Do(VZero16.Do(a)); }

internal readonly struct VByteToSingle : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => VIntToSingle.Do(VZero8.Do(a)); }

internal readonly struct VSByteToSingle : IVector1 { public static Vector512<T> Do<T>(Vector512<T> a) => VIntToSingle.Do(VSign8.Do(a)); }

/// <summary>To an integer of 32 bits: what is too large becomes the largest, and a NaN 0.</summary>
internal readonly struct SingleToInt<TNearest> : IUnary<float, int> where TNearest : struct, IFlag { public static int Do(float a) => int.CreateSaturating(TNearest.On ? MathF.Round(a) : a); }

internal readonly struct SingleToUInt<TNearest> : IUnary<float, uint> where TNearest : struct, IFlag { public static uint Do(float a) => uint.CreateSaturating(TNearest.On ? MathF.Round(a) : a); }
