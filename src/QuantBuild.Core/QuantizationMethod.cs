namespace QuantBuild;

/// <summary>How the integers of a quantized layer are chosen.</summary>
public enum QuantizationMethod
{
    /// <summary>Round to nearest: each weight alone, no calibration data.</summary>
    Rtn,

    /// <summary>
    /// GPTQ: column by column, each rounding error made good in the columns that follow, by second-order information from
    /// calibration data. Frantar et al., 2022, arXiv:2210.17323.
    /// </summary>
    Gptq,
}
