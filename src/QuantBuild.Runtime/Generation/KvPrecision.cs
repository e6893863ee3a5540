namespace QuantBuild;

/// <summary>How the keys and values of a running text are kept in memory.</summary>
public enum KvPrecision
{
    /// <summary>Half precision: 2 bytes a number.</summary>
    Float16,

    /// <summary>Bytes with a scale for each token, layer and head: half the memory, and a little less exact.</summary>
    Int8,
}
