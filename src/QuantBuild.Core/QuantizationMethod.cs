namespace QuantBuild;

/// <summary>How the values of a quantized layer are chosen.</summary>
public enum QuantizationMethod
{
    /// <summary>Round to nearest: each weight alone, no calibration data.</summary>
    Rtn,

    /// <summary>
    /// GPTQ: column by column, each rounding error made good in the columns that follow, by second-order information from
    /// calibration data. Frantar et al., 2022, arXiv:2210.17323.
    /// </summary>
    Gptq,

    /// <summary>
    /// AWQ: inputs that activations make important are scaled up before rounding, and the scale is folded into what comes before. Lin et al., 2023,
    /// arXiv:2306.00978.
    /// </summary>
    Awq,

    /// <summary>
    /// Learned rounding: from GPTQ's values, gradient descent on the rounding of each weight and the scale of each group, decoder layer by decoder layer, against the
    /// float layer's outputs. Cheng et al., 2023, arXiv:2309.05516.
    /// </summary>
    AutoRound,

    /// <summary>
    /// bitsandbytes' NF4: each weight goes to the nearest of 16 values that a normal distribution makes equally likely, over the largest magnitude of
    /// its block. No calibration data. Dettmers et al., 2023, arXiv:2305.14314.
    /// </summary>
    Nf4,

    /// <summary>bitsandbytes' FP4: as <see cref="Nf4"/>, with the 16 values of a floating-point number of 4 bits.</summary>
    Fp4,

    /// <summary>
    /// MXFP4: floating-point numbers of 4 bits, and a power of two for each 32 (OCP Microscaling Formats, 2023). No calibration data. What gpt-oss is published in; of a model in floating
    /// point, <see cref="Nf4"/> keeps more.
    /// </summary>
    Mxfp4,

    /// <summary>
    /// LLM.int8(): rows of weights and activations rounded to 8 bits, the few large activations kept in floating point. No calibration data.
    /// Dettmers et al., 2022, arXiv:2208.07339.
    /// </summary>
    Int8,
}
