using System.Globalization;

namespace QuantBuild;

/// <summary>What a budget (<see cref="QuantizationSpec.TargetBitsPerWeight"/>, <see cref="QuantizationSpec.TargetSize"/>) leaves for the linears whose widths it chooses.</summary>
public static class WidthBudget
{
    /// <summary>Bytes of an open linear at a width.</summary>
    public static long BytesOf(QuantizationPlan plan, LinearShape linear, int bits) => PackedSize.Of(plan[linear]! with { Bits = bits }, linear);

    /// <summary>Bytes for all open linears together.</summary>
    /// <param name="plan">The plan without widths.</param>
    /// <param name="otherBytes">With <see cref="QuantizationSpec.TargetSize"/>: all of the artifact but what is quantized.</param>
    /// <exception cref="QuantBuildException">QB0009: it is less than they take at the smallest width.</exception>
    public static long ForOpen(QuantizationPlan plan, long otherBytes)
    {
        LinearShape[] open = [.. plan.Open];
        HashSet<string> isOpen = [.. open.Select(linear => linear.Name)];
        long fixedBytes = plan.Quantized.Where(linear => !isOpen.Contains(linear.Name)).Sum(linear => PackedSize.Of(plan[linear]!, linear));
        long At(int bits) => fixedBytes + open.Sum(linear => BytesOf(plan, linear, bits));
        int least = QuantizationSpec.SupportedBits.Min(), most = QuantizationSpec.SupportedBits.Max();
        long weights = plan.Quantized.Sum(linear => (long)linear.Inputs * linear.Outputs);
        if (plan.Spec.TargetBitsPerWeight is { } target)
        {
            long budget = (long)decimal.Floor(target * weights / 8);
            if (budget >= At(least)) return budget - fixedBytes;
            string BitsPerWeight(int bits) => (8.0 * At(bits) / weights).ToString("F2", CultureInfo.InvariantCulture);
            throw TooSmall(
                $"TargetBitsPerWeight=\"{plan.Spec.WidthName}\"", $"{BitsPerWeight(least)} bits per weight, with {least} bits for every linear and its scales", $"{BitsPerWeight(most)}");
        }

        long size = plan.Spec.TargetSize!.Value;
        if (size >= otherBytes + At(least)) return size - otherBytes - fixedBytes;
        string Size(int bits) => ((otherBytes + At(bits)) / 1e6).ToString("N2", CultureInfo.InvariantCulture) + " MB";
        throw TooSmall(
            $"TargetSize=\"{plan.Spec.WidthName}\"",
            $"{Size(least)}, with {least} bits for every linear that is quantized and {(otherBytes / 1e6).ToString("N2", CultureInfo.InvariantCulture)} MB for the rest",
            Size(most));
    }

    /// <summary>The width next to what <see cref="QuantizationSpec.TargetSize"/> leaves for each weight, by and large: the worker finds out exactly.</summary>
    /// <param name="plan">The plan without widths.</param>
    /// <param name="modelBytes">Bytes of the model's weights.</param>
    /// <param name="tokenizerBytes">Bytes of its tokenizer.</param>
    public static int NominalBits(QuantizationPlan plan, long modelBytes, long tokenizerBytes)
    {
        double size = plan.Spec.TargetSize!.Value;
        double quantized = plan.Quantized.Sum(linear => (double)linear.Inputs * linear.Outputs), all = plan.Config.Parameters;
        double bits = 8 * (size - tokenizerBytes - (modelBytes * (all - quantized) / all)) / quantized;
        return QuantizationSpec.NearestBits((decimal)Math.Min(Math.Max(bits, 0), 16));
    }

    /// <summary>Checks what can be checked without the model's weights.</summary>
    /// <exception cref="QuantBuildException">QB0009: <see cref="QuantizationSpec.TargetBitsPerWeight"/> cannot be met.</exception>
    internal static void Check(QuantizationPlan plan)
    {
        if (plan.Spec.TargetBitsPerWeight is not null) ForOpen(plan, 0);
    }

    private static QuantBuildException TooSmall(string given, string smallest, string largest) => new(
        DiagnosticIds.BudgetTooSmall,
        $"{given} cannot be met: the smallest that this model can be is {smallest}; with 8 bits it is {largest}. Raise the budget" +
        ", take larger groups (GroupSize), or quantize head and embedding too (Override=\"lm_head: Bits=4; embed_tokens: Bits=4\").");
}
