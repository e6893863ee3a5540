using System.Numerics;

namespace QuantBuild.Cuda.Emulator;

/// <summary>Arithmetic by its PTX name, without the modifiers that change nothing here (<c>.rn</c>, <c>.approx</c>): <c>mul.wide.s32</c>, <c>fma.ftz.f32</c>.</summary>
internal static unsafe class OperationTable
{
    private static readonly Dictionary<string, nint> Operations = [];
    private static readonly Dictionary<string, nint> Comparisons = [];

    static OperationTable()
    {
        Integer<ushort>("u16");
        Integer<short>("s16");
        Integer<uint>("u32");
        Integer<int>("s32");
        Integer<ulong>("u64");
        Integer<long>("s64");
        IntegerVectors<uint>("u32");
        IntegerVectors<int>("s32");
        IntegerVectors<ulong>("u64");
        IntegerVectors<long>("s64");
        Bits<uint>("b32");
        Bits<ulong>("b64");
        Bits16();
        Single();
        Double();
        Half();
        Add("mul.wide.u32", &Lanes.Wide<False, False>);
        Add("mul.wide.s32", &Lanes.Wide<True, False>);
        Add("mad.wide.u32", &Lanes.Wide<False, True>);
        Add("mad.wide.s32", &Lanes.Wide<True, True>);
        Add("mul.wide.u16", &Lanes.Map2<WideUnsigned, ushort, ushort, uint>);
        Add("mul.wide.s16", &Lanes.Map2<WideSigned, short, short, int>);
        Add("mad.wide.u16", &Lanes.Map3<WideUnsignedAdd, ushort, ushort, uint, uint>);
        Add("mad.wide.s16", &Lanes.Map3<WideSignedAdd, short, short, int, int>);
        Add("mul24.lo.u32", &Lanes.Map2<Multiply24<uint>, uint, uint, uint>);
        Add("mul24.lo.s32", &Lanes.Map2<Multiply24<int>, int, int, int>);
        Add("mad24.lo.u32", &Lanes.Map3<Multiply24Add<uint>, uint, uint, uint, uint>);
        Add("mad24.lo.s32", &Lanes.Map3<Multiply24Add<int>, int, int, int, int>);
        Add("add.sat.s32", &Lanes.Map2<AddSaturating, int, int, int>);
        Add("sub.sat.s32", &Lanes.Map2<SubtractSaturating, int, int, int>);
        Add("shf.l.wrap.b32", &Lanes.Map3<FunnelLeft, uint, uint, uint, uint>);
        Add("shf.r.wrap.b32", &Lanes.Map3<FunnelRight, uint, uint, uint, uint>);
        Add("shf.l.clamp.b32", &Lanes.Map3<FunnelLeftClamped, uint, uint, uint, uint>);
        Add("shf.r.clamp.b32", &Lanes.Map3<FunnelRightClamped, uint, uint, uint, uint>);
        Add("prmt.b32", &Lanes.Map3<Permute, uint, uint, uint, uint>);
        Add("dp4a.s32.s32", &Lanes.Vector3<VDot4<True, True>, uint>);
        Add("dp4a.u32.u32", &Lanes.Vector3<VDot4<False, False>, uint>);
        Add("dp4a.s32.u32", &Lanes.Vector3<VDot4<True, False>, uint>);
        Add("dp4a.u32.s32", &Lanes.Vector3<VDot4<False, True>, uint>);
        Add("dp2a.lo.s32.s32", &Lanes.Map3<Dot2<True, True, False>, uint, uint, uint, uint>);
        Add("dp2a.hi.s32.s32", &Lanes.Map3<Dot2<True, True, True>, uint, uint, uint, uint>);
        Add("dp2a.lo.u32.u32", &Lanes.Map3<Dot2<False, False, False>, uint, uint, uint, uint>);
        Add("dp2a.hi.u32.u32", &Lanes.Map3<Dot2<False, False, True>, uint, uint, uint, uint>);
        IntegerConversions<byte>("u8");
        IntegerConversions<sbyte>("s8");
        IntegerConversions<ushort>("u16");
        IntegerConversions<short>("s16");
        IntegerConversions<uint>("u32");
        IntegerConversions<int>("s32");
        IntegerConversions<ulong>("u64");
        IntegerConversions<long>("s64");
        Add("cvt.f32.f16", &Lanes.Vector1<VHalfToSingle, uint>);
        Add("cvt.f32.bf16", &Lanes.Vector1<VBrainToSingle, uint>);
        Add("cvt.rn.f16.f32", &Lanes.Map1<SingleToHalf, float, System.Half>);
        Add("cvt.rn.bf16.f32", &Lanes.Map1<SingleToBrain, float, Brain>);
        Add("cvt.rn.f32.s32", &Lanes.Vector1<VIntToSingle, uint>);
        Add("cvt.rn.f32.u32", &Lanes.Vector1<VUIntToSingle, uint>);
        Add("cvt.rn.f32.s16", &Lanes.Vector1<VShortToSingle, uint>);
        Add("cvt.rn.f32.u16", &Lanes.Vector1<VUShortToSingle, uint>);
        Add("cvt.rn.f32.s8", &Lanes.Vector1<VSByteToSingle, uint>);
        Add("cvt.rn.f32.u8", &Lanes.Vector1<VByteToSingle, uint>);
        Add("cvt.rzi.s32.f32", &Lanes.Map1<SingleToInt<False>, float, int>);
        Add("cvt.rni.s32.f32", &Lanes.Map1<SingleToInt<True>, float, int>);
        Add("cvt.rzi.u32.f32", &Lanes.Map1<SingleToUInt<False>, float, uint>);
        Add("cvt.rni.u32.f32", &Lanes.Map1<SingleToUInt<True>, float, uint>);
        foreach (string wide in (string[])["u64", "s64"])
        {
            Add($"cvt.{wide}.u32", &Lanes.Widen<False>);
            Add($"cvt.{wide}.s32", &Lanes.Widen<True>);
            Add($"cvt.u32.{wide}", &Lanes.Narrow);
            Add($"cvt.s32.{wide}", &Lanes.Narrow);
        }
        foreach (string from in (string[])["u8", "s8", "u16", "s16", "u32", "s32"])
        {
            // A lane has 32 bits whatever the type, so these only fill it.
            Add("cvt.u8." + from, &Lanes.Vector1<VZero8, uint>);
            Add("cvt.s8." + from, &Lanes.Vector1<VSign8, uint>);
            if (from[1..] is "8") continue;
            Add("cvt.u16." + from, &Lanes.Vector1<VZero16, uint>);
            Add("cvt.s16." + from, &Lanes.Vector1<VSign16, uint>);
        }
        foreach (string to in (string[])["u16", "s16", "u32", "s32"])
        {
            Add($"cvt.{to}.u8", &Lanes.Vector1<VZero8, uint>);
            Add($"cvt.{to}.s8", &Lanes.Vector1<VSign8, uint>);
        }
        Add("cvt.u32.u16", &Lanes.Vector1<VZero16, uint>);
        Add("cvt.s32.u16", &Lanes.Vector1<VZero16, uint>);
        Add("cvt.u32.s16", &Lanes.Vector1<VSign16, uint>);
        Add("cvt.s32.s16", &Lanes.Vector1<VSign16, uint>);
    }

    public static delegate*<Warp, Instruction, void> Find(string key) => (delegate*<Warp, Instruction, void>)Operations.GetValueOrDefault(key);

    /// <summary>A comparison of two registers, such as <c>lt.s32</c>.</summary>
    public static delegate*<byte*, byte*, uint> FindComparison(string key) => (delegate*<byte*, byte*, uint>)Comparisons.GetValueOrDefault(key);

    private static void Add(string key, delegate*<Warp, Instruction, void> operation) => Operations[key] = (nint)operation;

    private static void Compare(string key, delegate*<byte*, byte*, uint> comparison) => Comparisons[key] = (nint)comparison;

    private static void Integer<T>(string t) where T : unmanaged, IBinaryInteger<T>
    {
        Add("add." + t, &Lanes.Map2<AddOp<T>, T, T, T>);
        Add("sub." + t, &Lanes.Map2<SubtractOp<T>, T, T, T>);
        Add("mul.lo." + t, &Lanes.Map2<MultiplyOp<T>, T, T, T>);
        Add("mul.hi." + t, &Lanes.Map2<MultiplyHigh<T>, T, T, T>);
        Add("mad.lo." + t, &Lanes.Map3<MultiplyAdd<T>, T, T, T, T>);
        Add("mad.hi." + t, &Lanes.Map3<MultiplyHighAdd<T>, T, T, T, T>);
        Add("div." + t, &Lanes.Map2<DivideInteger<T>, T, T, T>);
        Add("rem." + t, &Lanes.Map2<RemainderInteger<T>, T, T, T>);
        Add("min." + t, &Lanes.Map2<MinOp<T>, T, T, T>);
        Add("max." + t, &Lanes.Map2<MaxOp<T>, T, T, T>);
        Add("abs." + t, &Lanes.Map1<AbsOp<T>, T, T>);
        Add("neg." + t, &Lanes.Map1<NegateOp<T>, T, T>);
        Add("sad." + t, &Lanes.Map3<AbsoluteDifference<T>, T, T, T, T>);
        Add("shr." + t, &Lanes.Map2<ShiftRight<T>, T, uint, T>);
        Add("bfe." + t, &Lanes.Map3<ExtractBits<T>, T, uint, uint, T>);
        Add("bfind." + t, &Lanes.Map1<FindBit<T>, T, uint>);
        Compare("eq." + t, &Lanes.CompareLanes<Equal<T>, T>);
        Compare("ne." + t, &Lanes.CompareLanes<Opposite<Equal<T>, T>, T>);
        Compare("lt." + t, &Lanes.CompareLanes<Less<T>, T>);
        Compare("le." + t, &Lanes.CompareLanes<LessOrEqual<T>, T>);
        Compare("gt." + t, &Lanes.CompareLanes<Greater<T>, T>);
        Compare("ge." + t, &Lanes.CompareLanes<GreaterOrEqual<T>, T>);
    }

    private static void IntegerVectors<T>(string t) where T : unmanaged
    {
        Add("add." + t, &Lanes.Vector2<VAdd, T>);
        Add("sub." + t, &Lanes.Vector2<VSubtract, T>);
        Add("mul.lo." + t, &Lanes.Vector2<VMultiply, T>);
        Add("mad.lo." + t, &Lanes.Vector3<VMultiplyAdd, T>);
        Add("min." + t, &Lanes.Vector2<VMin, T>);
        Add("max." + t, &Lanes.Vector2<VMax, T>);
        if (t == "s32") Add("shr." + t, &Lanes.Vector2<VShiftRightSigned, T>);
        if (t == "u32") Add("shr." + t, &Lanes.Vector2<VShiftRight, T>);
        if (t == "s64") Add("shr." + t, &Lanes.VectorBy32<VShiftRight64Signed>);
        if (t == "u64") Add("shr." + t, &Lanes.VectorBy32<VShiftRight64>);
        VectorComparisons<T>(t);
    }

    private static void VectorComparisons<T>(string t) where T : unmanaged
    {
        Compare("eq." + t, &Lanes.CompareVectors<VEqual, T>);
        Compare("ne." + t, &Lanes.CompareVectors<VOpposite<VEqual>, T>);
        Compare("lt." + t, &Lanes.CompareVectors<VLess, T>);
        Compare("le." + t, &Lanes.CompareVectors<VLessOrEqual, T>);
        Compare("gt." + t, &Lanes.CompareVectors<VGreater, T>);
        Compare("ge." + t, &Lanes.CompareVectors<VGreaterOrEqual, T>);
    }

    private static void Bits<T>(string t) where T : unmanaged, IBinaryInteger<T>
    {
        Add("mov." + t, &Lanes.Vector1<VMove, T>);
        Add("not." + t, &Lanes.Vector1<VNot, T>);
        Add("and." + t, &Lanes.Vector2<VAnd, T>);
        Add("or." + t, &Lanes.Vector2<VOr, T>);
        Add("xor." + t, &Lanes.Vector2<VXor, T>);
        if (t == "b32") Add("shl." + t, &Lanes.Vector2<VShiftLeft, T>);
        else Add("shl." + t, &Lanes.VectorBy32<VShiftLeft64>);
        if (t == "b32") Add("shr." + t, &Lanes.Vector2<VShiftRight, T>);
        else Add("shr." + t, &Lanes.VectorBy32<VShiftRight64>);
        Add("cnot." + t, &Lanes.Map1<LogicalNot<T>, T, T>);
        Add("popc." + t, &Lanes.Map1<PopulationCount<T>, T, uint>);
        Add("clz." + t, &Lanes.Map1<LeadingZeros<T>, T, uint>);
        Add("brev." + t, &Lanes.Map1<ReverseBits<T>, T, T>);
        Compare("eq." + t, &Lanes.CompareVectors<VEqual, T>);
        Compare("ne." + t, &Lanes.CompareVectors<VOpposite<VEqual>, T>);
    }

    private static void Bits16()
    {
        Add("mov.b16", &Lanes.Vector1<VMove, uint>);
        Add("not.b16", &Lanes.Vector1<VNot, uint>);
        Add("and.b16", &Lanes.Vector2<VAnd, uint>);
        Add("or.b16", &Lanes.Vector2<VOr, uint>);
        Add("xor.b16", &Lanes.Vector2<VXor, uint>);
        Add("shl.b16", &Lanes.Map2<ShiftLeft<ushort>, ushort, uint, ushort>);
        Add("shr.b16", &Lanes.Map2<ShiftRight<ushort>, ushort, uint, ushort>);
        Compare("eq.b16", &Lanes.CompareLanes<Equal<ushort>, ushort>);
        Compare("ne.b16", &Lanes.CompareLanes<Opposite<Equal<ushort>, ushort>, ushort>);
    }

    private static void Float2<TOp>(string name) where TOp : struct, IVector2
    {
        Add(name + ".f32", &Lanes.Vector2<TOp, float>);
        Add(name + ".ftz.f32", &Lanes.Vector2<VFlush2<TOp>, float>);
        Add(name + ".sat.f32", &Lanes.Vector2<VSaturate2<TOp>, float>);
        Add(name + ".ftz.sat.f32", &Lanes.Vector2<VSaturate2<VFlush2<TOp>>, float>);
        Add(name + ".f64", &Lanes.Vector2<TOp, double>);
    }

    private static void Float1<TOp>(string name) where TOp : struct, IVector1
    {
        Add(name + ".f32", &Lanes.Vector1<TOp, float>);
        Add(name + ".ftz.f32", &Lanes.Vector1<VFlush1<TOp>, float>);
        Add(name + ".f64", &Lanes.Vector1<TOp, double>);
    }

    private static void Approximate<TOp>(string name) where TOp : struct, IUnary<float, float>
    {
        Add(name + ".f32", &Lanes.Map1<TOp, float, float>);
        Add(name + ".ftz.f32", &Lanes.Map1<Flushed<TOp>, float, float>);
        Add(name + ".f16", &Lanes.Map1<HalfOf<TOp>, System.Half, System.Half>);
        Add(name + ".f16x2", &Lanes.Map1<Pair1<HalfOf<TOp>, System.Half>, uint, uint>);
        Add(name + ".bf16", &Lanes.Map1<BrainOf<TOp>, Brain, Brain>);
        Add(name + ".bf16x2", &Lanes.Map1<Pair1<BrainOf<TOp>, Brain>, uint, uint>);
        Add(name + ".ftz.bf16", &Lanes.Map1<BrainOf<TOp>, Brain, Brain>);
        Add(name + ".ftz.bf16x2", &Lanes.Map1<Pair1<BrainOf<TOp>, Brain>, uint, uint>);
    }

    private static void Single()
    {
        Float2<VAdd>("add");
        Float2<VSubtract>("sub");
        Float2<VMultiply>("mul");
        Float2<VDivide>("div");
        Float2<VMin>("min");
        Float2<VMax>("max");
        Float2<VMinOrNaN>("min.NaN");
        Float2<VMaxOrNaN>("max.NaN");
        Float1<VAbs>("abs");
        Float1<VNegateFloat>("neg");
        Float1<VSqrt>("sqrt");
        Float1<VReciprocal>("rcp");
        Float1<VReciprocalSqrt>("rsqrt");
        foreach (string name in (string[])["fma", "mad"])
        {
            Add(name + ".f32", &Lanes.Vector3<VFused, float>);
            Add(name + ".ftz.f32", &Lanes.Vector3<VFlush3<VFused>, float>);
            Add(name + ".sat.f32", &Lanes.Vector3<VSaturate3<VFused>, float>);
            Add(name + ".ftz.sat.f32", &Lanes.Vector3<VSaturate3<VFlush3<VFused>>, float>);
            Add(name + ".f64", &Lanes.Vector3<VFused, double>);
        }
        Approximate<Exp2>("ex2");
        Approximate<Log2>("lg2");
        Add("ex2.f32", &Lanes.InDouble<VExp2, False>);
        Add("ex2.ftz.f32", &Lanes.InDouble<VExp2, True>);
        Add("lg2.f32", &Lanes.InDouble<VLog2, False>);
        Add("lg2.ftz.f32", &Lanes.InDouble<VLog2, True>);
        Approximate<Sin>("sin");
        Approximate<Cos>("cos");
        Approximate<Tanh>("tanh");
        Add("copysign.f32", &Lanes.Map2<CopySignOp<float>, float, float, float>);
        FloatComparisons<float>("f32");
        FlushedComparisons();
    }

    private static void Double()
    {
        Add("copysign.f64", &Lanes.Map2<CopySignOp<double>, double, double, double>);
        FloatComparisons<double>("f64");
    }

    private static void FloatComparisons<T>(string t) where T : unmanaged
    {
        VectorComparisons<T>(t);
        Compare("ne." + t, &Lanes.CompareVectors<VOrderedUnequal, T>);
        Compare("equ." + t, &Lanes.CompareVectors<VOpposite<VOrderedUnequal>, T>);
        Compare("neu." + t, &Lanes.CompareVectors<VOpposite<VEqual>, T>);
        Compare("ltu." + t, &Lanes.CompareVectors<VOpposite<VGreaterOrEqual>, T>);
        Compare("leu." + t, &Lanes.CompareVectors<VOpposite<VGreater>, T>);
        Compare("gtu." + t, &Lanes.CompareVectors<VOpposite<VLessOrEqual>, T>);
        Compare("geu." + t, &Lanes.CompareVectors<VOpposite<VLess>, T>);
        Compare("num." + t, &Lanes.CompareVectors<VOrdered, T>);
        Compare("nan." + t, &Lanes.CompareVectors<VOpposite<VOrdered>, T>);
    }

    private static void FlushedComparisons()
    {
        Flushed<VEqual>("eq");
        Flushed<VOrderedUnequal>("ne");
        Flushed<VLess>("lt");
        Flushed<VLessOrEqual>("le");
        Flushed<VGreater>("gt");
        Flushed<VGreaterOrEqual>("ge");
        Flushed<VOpposite<VOrderedUnequal>>("equ");
        Flushed<VOpposite<VEqual>>("neu");
        Flushed<VOpposite<VGreaterOrEqual>>("ltu");
        Flushed<VOpposite<VGreater>>("leu");
        Flushed<VOpposite<VLessOrEqual>>("gtu");
        Flushed<VOpposite<VLess>>("geu");
        Flushed<VOrdered>("num");
        Flushed<VOpposite<VOrdered>>("nan");
    }

    private static void Flushed<TOp>(string name) where TOp : struct, IVector2 => Compare(name + ".ftz.f32", &Lanes.CompareVectors<VFlushCompare<TOp>, float>);

    private static void Half()
    {
        Add("add.f16", &Lanes.Map2<AddOp<System.Half>, System.Half, System.Half, System.Half>);
        Add("sub.f16", &Lanes.Map2<SubtractOp<System.Half>, System.Half, System.Half, System.Half>);
        Add("mul.f16", &Lanes.Map2<MultiplyOp<System.Half>, System.Half, System.Half, System.Half>);
        Add("min.f16", &Lanes.Map2<MinOp<System.Half>, System.Half, System.Half, System.Half>);
        Add("max.f16", &Lanes.Map2<MaxOp<System.Half>, System.Half, System.Half, System.Half>);
        Add("fma.f16", &Lanes.Map3<FusedHalf, System.Half, System.Half, System.Half, System.Half>);
        Add("fma.relu.f16", &Lanes.Map3<ReluHalf, System.Half, System.Half, System.Half, System.Half>);
        Add("add.f16x2", &Lanes.Map2<Pair<AddOp<System.Half>, System.Half>, uint, uint, uint>);
        Add("sub.f16x2", &Lanes.Map2<Pair<SubtractOp<System.Half>, System.Half>, uint, uint, uint>);
        Add("mul.f16x2", &Lanes.Map2<Pair<MultiplyOp<System.Half>, System.Half>, uint, uint, uint>);
        Add("min.f16x2", &Lanes.Map2<Pair<MinOp<System.Half>, System.Half>, uint, uint, uint>);
        Add("max.f16x2", &Lanes.Map2<Pair<MaxOp<System.Half>, System.Half>, uint, uint, uint>);
        Add("fma.f16x2", &Lanes.Map3<Pair3<FusedHalf, System.Half>, uint, uint, uint, uint>);
        Add("fma.relu.f16x2", &Lanes.Map3<Pair3<ReluHalf, System.Half>, uint, uint, uint, uint>);
        Add("fma.bf16", &Lanes.Map3<FusedBrain, Brain, Brain, Brain, Brain>);
        Add("fma.bf16x2", &Lanes.Map3<Pair3<FusedBrain, Brain>, uint, uint, uint, uint>);
        Add("min.bf16", &Lanes.Map2<MinBrain, Brain, Brain, Brain>);
        Add("max.bf16", &Lanes.Map2<MaxBrain, Brain, Brain, Brain>);
        Add("min.bf16x2", &Lanes.Map2<Pair<MinBrain, Brain>, uint, uint, uint>);
        Add("max.bf16x2", &Lanes.Map2<Pair<MaxBrain, Brain>, uint, uint, uint>);
        Add("add.bf16", &Lanes.Map2<AddOp<Brain>, Brain, Brain, Brain>);
        Add("sub.bf16", &Lanes.Map2<SubtractOp<Brain>, Brain, Brain, Brain>);
        Add("mul.bf16", &Lanes.Map2<MultiplyOp<Brain>, Brain, Brain, Brain>);
        Add("add.bf16x2", &Lanes.Map2<Pair<AddOp<Brain>, Brain>, uint, uint, uint>);
        Add("sub.bf16x2", &Lanes.Map2<Pair<SubtractOp<Brain>, Brain>, uint, uint, uint>);
        Add("mul.bf16x2", &Lanes.Map2<Pair<MultiplyOp<Brain>, Brain>, uint, uint, uint>);
        foreach (string t in (string[])["f16", "bf16"])
        {
            Add("neg." + t, &Lanes.Map1<NegateHalf, ushort, ushort>);
            Add("abs." + t, &Lanes.Map1<AbsHalf, ushort, ushort>);
            Add("neg." + t + "x2", &Lanes.Map1<Pair1<NegateHalf, ushort>, uint, uint>);
            Add("abs." + t + "x2", &Lanes.Map1<Pair1<AbsHalf, ushort>, uint, uint>);
        }
        Compare("eq.f16", &Lanes.CompareLanes<Equal<System.Half>, System.Half>);
        Compare("ne.f16", &Lanes.CompareLanes<OrderedUnequal<System.Half>, System.Half>);
        Compare("lt.f16", &Lanes.CompareLanes<Less<System.Half>, System.Half>);
        Compare("le.f16", &Lanes.CompareLanes<LessOrEqual<System.Half>, System.Half>);
        Compare("gt.f16", &Lanes.CompareLanes<Greater<System.Half>, System.Half>);
        Compare("ge.f16", &Lanes.CompareLanes<GreaterOrEqual<System.Half>, System.Half>);
        Compare("neu.f16", &Lanes.CompareLanes<Opposite<Equal<System.Half>, System.Half>, System.Half>);
        Compare("equ.f16", &Lanes.CompareLanes<Opposite<OrderedUnequal<System.Half>, System.Half>, System.Half>);
        Compare("ltu.f16", &Lanes.CompareLanes<Opposite<GreaterOrEqual<System.Half>, System.Half>, System.Half>);
        Compare("leu.f16", &Lanes.CompareLanes<Opposite<Greater<System.Half>, System.Half>, System.Half>);
        Compare("gtu.f16", &Lanes.CompareLanes<Opposite<LessOrEqual<System.Half>, System.Half>, System.Half>);
        Compare("geu.f16", &Lanes.CompareLanes<Opposite<Less<System.Half>, System.Half>, System.Half>);
        Compare("num.f16", &Lanes.CompareLanes<Ordered<System.Half>, System.Half>);
        Compare("nan.f16", &Lanes.CompareLanes<Opposite<Ordered<System.Half>, System.Half>, System.Half>);
    }

    private static void IntegerConversions<TA>(string a) where TA : unmanaged, INumberBase<TA>
    {
        Add("cvt.u8." + a, &Lanes.Map1<ConvertInteger<TA, byte>, TA, byte>);
        Add("cvt.s8." + a, &Lanes.Map1<ConvertInteger<TA, sbyte>, TA, sbyte>);
        Add("cvt.u16." + a, &Lanes.Map1<ConvertInteger<TA, ushort>, TA, ushort>);
        Add("cvt.s16." + a, &Lanes.Map1<ConvertInteger<TA, short>, TA, short>);
        Add("cvt.u32." + a, &Lanes.Map1<ConvertInteger<TA, uint>, TA, uint>);
        Add("cvt.s32." + a, &Lanes.Map1<ConvertInteger<TA, int>, TA, int>);
        Add("cvt.u64." + a, &Lanes.Map1<ConvertInteger<TA, ulong>, TA, ulong>);
        Add("cvt.s64." + a, &Lanes.Map1<ConvertInteger<TA, long>, TA, long>);
    }
}
