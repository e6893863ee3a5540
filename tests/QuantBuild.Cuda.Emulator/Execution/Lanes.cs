using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace QuantBuild.Cuda.Emulator;

internal interface IUnary<TA, TD> { static abstract TD Do(TA a); }

internal interface IBinary<TA, TB, TD> { static abstract TD Do(TA a, TB b); }

internal interface ITernary<TA, TB, TC, TD> { static abstract TD Do(TA a, TB b, TC c); }

internal interface ICompare<T> { static abstract bool Do(T a, T b); }

internal interface IVector1 { static abstract Vector512<T> Do<T>(Vector512<T> a); }

internal interface IVector2 { static abstract Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b); }

internal interface IVector3 { static abstract Vector512<T> Do<T>(Vector512<T> a, Vector512<T> b, Vector512<T> c); }

/// <summary>
/// An operation applied to a warp's 32 lanes. A register of up to 32 bits is 32 four-byte lanes, one of 64 bits 32 eight-byte lanes, a predicate 32 bits. <c>Vector…</c> runs on vectors;
/// <c>Map…</c> goes lane by lane, for what vectors lack.
/// </summary>
internal static unsafe class Lanes
{
    public const int Count = 32;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Stride<T>() where T : unmanaged => sizeof(T) == 8 ? 8 : 4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Read<T>(byte* register, int lane) where T : unmanaged => *(T*)(register + (lane * Stride<T>()));

    /// <summary>Writes a lane; a value of fewer than 32 bits fills the lane by its sign or by zeros.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Write<T>(byte* register, int lane, T value) where T : unmanaged
    {
        if (typeof(T) == typeof(sbyte)) *(int*)(register + (lane * 4)) = (sbyte)(object)value;
        else if (typeof(T) == typeof(short)) *(int*)(register + (lane * 4)) = (short)(object)value;
        else if (sizeof(T) == 1) *(uint*)(register + (lane * 4)) = Unsafe.BitCast<T, byte>(value);
        else if (sizeof(T) == 2) *(uint*)(register + (lane * 4)) = Unsafe.BitCast<T, ushort>(value);
        else *(T*)(register + (lane * Stride<T>())) = value;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Map1<TOp, TA, TD>(Warp w, Instruction i) where TOp : struct, IUnary<TA, TD> where TA : unmanaged where TD : unmanaged
    {
        byte* a = w.Registers + i.A, d = w.Registers + i.D;
        if (w.Active == uint.MaxValue)
        {
            for (int lane = 0; lane < Count; lane++) Write(d, lane, TOp.Do(Read<TA>(a, lane)));
            return;
        }
        for (uint left = w.Active; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            Write(d, lane, TOp.Do(Read<TA>(a, lane)));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Map2<TOp, TA, TB, TD>(Warp w, Instruction i) where TOp : struct, IBinary<TA, TB, TD> where TA : unmanaged where TB : unmanaged where TD : unmanaged
    {
        byte* a = w.Registers + i.A, b = w.Registers + i.B, d = w.Registers + i.D;
        if (w.Active == uint.MaxValue)
        {
            for (int lane = 0; lane < Count; lane++) Write(d, lane, TOp.Do(Read<TA>(a, lane), Read<TB>(b, lane)));
            return;
        }
        for (uint left = w.Active; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            Write(d, lane, TOp.Do(Read<TA>(a, lane), Read<TB>(b, lane)));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Map3<TOp, TA, TB, TC, TD>(Warp w, Instruction i)
        where TOp : struct, ITernary<TA, TB, TC, TD> where TA : unmanaged where TB : unmanaged where TC : unmanaged where TD : unmanaged
    {
        byte* a = w.Registers + i.A, b = w.Registers + i.B, c = w.Registers + i.C, d = w.Registers + i.D;
        for (uint left = w.Active; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            Write(d, lane, TOp.Do(Read<TA>(a, lane), Read<TB>(b, lane), Read<TC>(c, lane)));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Vector1<TOp, T>(Warp w, Instruction i) where TOp : struct, IVector1 where T : unmanaged
    {
        T* a = (T*)(w.Registers + i.A), d = (T*)(w.Registers + i.D);
        if (w.Active == uint.MaxValue)
        {
            for (int k = 0; k < Count; k += Vector512<T>.Count) TOp.Do(Vector512.Load(a + k)).Store(d + k);
            return;
        }
        T* mask = w.Masks<T>();
        for (int k = 0; k < Count; k += Vector512<T>.Count) Vector512.ConditionalSelect(Vector512.Load(mask + k), TOp.Do(Vector512.Load(a + k)), Vector512.Load(d + k)).Store(d + k);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Vector2<TOp, T>(Warp w, Instruction i) where TOp : struct, IVector2 where T : unmanaged
    {
        T* a = (T*)(w.Registers + i.A), b = (T*)(w.Registers + i.B), d = (T*)(w.Registers + i.D);
        if (w.Active == uint.MaxValue)
        {
            for (int k = 0; k < Count; k += Vector512<T>.Count) TOp.Do(Vector512.Load(a + k), Vector512.Load(b + k)).Store(d + k);
            return;
        }
        T* mask = w.Masks<T>();
        for (int k = 0; k < Count; k += Vector512<T>.Count)
            Vector512.ConditionalSelect(Vector512.Load(mask + k), TOp.Do(Vector512.Load(a + k), Vector512.Load(b + k)), Vector512.Load(d + k)).Store(d + k);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Vector3<TOp, T>(Warp w, Instruction i) where TOp : struct, IVector3 where T : unmanaged
    {
        T* a = (T*)(w.Registers + i.A), b = (T*)(w.Registers + i.B), c = (T*)(w.Registers + i.C), d = (T*)(w.Registers + i.D);
        if (w.Active == uint.MaxValue)
        {
            for (int k = 0; k < Count; k += Vector512<T>.Count) TOp.Do(Vector512.Load(a + k), Vector512.Load(b + k), Vector512.Load(c + k)).Store(d + k);
            return;
        }
        T* mask = w.Masks<T>();
        for (int k = 0; k < Count; k += Vector512<T>.Count)
            Vector512.ConditionalSelect(Vector512.Load(mask + k), TOp.Do(Vector512.Load(a + k), Vector512.Load(b + k), Vector512.Load(c + k)), Vector512.Load(d + k)).Store(d + k);
    }

    /// <summary>A product of 32-bit numbers as a 64-bit one, plus <see cref="Instruction.C"/> where <typeparamref name="TAdd"/> is <c>True</c>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Wide<TSigned, TAdd>(Warp w, Instruction i) where TSigned : struct, IFlag where TAdd : struct, IFlag
    {
        uint* a = (uint*)(w.Registers + i.A), b = (uint*)(w.Registers + i.B);
        ulong* c = TAdd.On ? (ulong*)(w.Registers + i.C) : null, d = (ulong*)(w.Registers + i.D);
        ulong* mask = w.Active == uint.MaxValue ? null : w.Masks<ulong>();
        // The result may overwrite an operand, but never one of its lanes before the lane is read: registers of different widths never share a slot.
        for (int k = 0; k < Count; k += 8)
        {
            Vector512<ulong> product;
            if (TSigned.On)
            {
                Vector256<int> x = Vector256.Load((int*)a + k), y = Vector256.Load((int*)b + k);
                product = (Extend(x) * Extend(y)).AsUInt64();
            }
            else
            {
                Vector256<uint> x = Vector256.Load(a + k), y = Vector256.Load(b + k);
                product = Extend(x) * Extend(y);
            }
            if (TAdd.On) product += Vector512.Load(c + k);
            if (mask != null) product = Vector512.ConditionalSelect(Vector512.Load(mask + k), product, Vector512.Load(d + k));
            product.Store(d + k);
        }
    }

    /// <summary>32-bit numbers as 64-bit ones.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Widen<TSigned>(Warp w, Instruction i) where TSigned : struct, IFlag
    {
        uint* a = (uint*)(w.Registers + i.A);
        ulong* d = (ulong*)(w.Registers + i.D), mask = w.Active == uint.MaxValue ? null : w.Masks<ulong>();
        for (int k = 0; k < Count; k += 8)
        {
            Vector512<ulong> value = TSigned.On ? Extend(Vector256.Load((int*)a + k)).AsUInt64() : Extend(Vector256.Load(a + k));
            if (mask != null) value = Vector512.ConditionalSelect(Vector512.Load(mask + k), value, Vector512.Load(d + k));
            value.Store(d + k);
        }
    }

    /// <summary>The low halves of 64-bit numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Narrow(Warp w, Instruction i)
    {
        ulong* a = (ulong*)(w.Registers + i.A);
        uint* d = (uint*)(w.Registers + i.D), mask = w.Active == uint.MaxValue ? null : w.Masks<uint>();
        for (int k = 0; k < Count; k += 16)
        {
            Vector512<uint> value = Vector512.Narrow(Vector512.Load(a + k), Vector512.Load(a + k + 8));
            if (mask != null) value = Vector512.ConditionalSelect(Vector512.Load(mask + k), value, Vector512.Load(d + k));
            value.Store(d + k);
        }
    }

    /// <summary>A 64-bit operation whose second operand has 32 bits, as a shift's count has.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void VectorBy32<TOp>(Warp w, Instruction i) where TOp : struct, IVector2
    {
        ulong* a = (ulong*)(w.Registers + i.A), d = (ulong*)(w.Registers + i.D), mask = w.Active == uint.MaxValue ? null : w.Masks<ulong>();
        uint* b = (uint*)(w.Registers + i.B);
        for (int k = 0; k < Count; k += 8)
        {
            Vector512<ulong> value = TOp.Do(Vector512.Load(a + k), Extend(Vector256.Load(b + k)));
            if (mask != null) value = Vector512.ConditionalSelect(Vector512.Load(mask + k), value, Vector512.Load(d + k));
            value.Store(d + k);
        }
    }

    /// <summary>A function of float32 computed in float64 and rounded.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void InDouble<TOp, TFlush>(Warp w, Instruction i) where TOp : struct, IUnary<Vector512<double>, Vector512<double>> where TFlush : struct, IFlag
    {
        float* a = (float*)(w.Registers + i.A), d = (float*)(w.Registers + i.D), mask = w.Active == uint.MaxValue ? null : w.Masks<float>();
        for (int k = 0; k < Count; k += 16)
        {
            Vector512<float> x = Vector512.Load(a + k);
            if (TFlush.On) x = Subnormal.Flush(x);
            (Vector512<double> low, Vector512<double> high) = Vector512.Widen(x);
            Vector512<float> value = Vector512.Narrow(TOp.Do(low), TOp.Do(high));
            if (TFlush.On) value = Subnormal.Flush(value);
            if (mask != null) value = Vector512.ConditionalSelect(Vector512.Load(mask + k), value, Vector512.Load(d + k));
            value.Store(d + k);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<long> Extend(Vector256<int> x)
    {
        (Vector256<long> low, Vector256<long> high) = Vector256.Widen(x);
        return Vector512.Create(low, high);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<ulong> Extend(Vector256<uint> x)
    {
        (Vector256<ulong> low, Vector256<ulong> high) = Vector256.Widen(x);
        return Vector512.Create(low, high);
    }

    /// <summary>The lanes where a comparison holds; bits of lanes that are off mean nothing.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static uint CompareVectors<TOp, T>(byte* a, byte* b) where TOp : struct, IVector2 where T : unmanaged
    {
        uint mask = 0;
        for (int k = 0; k < Count; k += Vector512<T>.Count)
            mask |= (uint)TOp.Do(Vector512.Load((T*)a + k), Vector512.Load((T*)b + k)).ExtractMostSignificantBits() << k;
        return mask;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static uint CompareLanes<TOp, T>(byte* a, byte* b) where TOp : struct, ICompare<T> where T : unmanaged
    {
        uint mask = 0;
        for (int lane = 0; lane < Count; lane++)
        {
            if (TOp.Do(Read<T>(a, lane), Read<T>(b, lane))) mask |= 1u << lane;
        }
        return mask;
    }
}

/// <summary>A constant of a generic method's type.</summary>
internal interface IFlag { static abstract bool On { get; } }

internal readonly struct True : IFlag { public static bool On => true; }

internal readonly struct False : IFlag { public static bool On => false; }
