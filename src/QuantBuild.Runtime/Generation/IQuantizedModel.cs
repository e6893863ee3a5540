namespace QuantBuild;

/// <summary>What the class of a model is to code that takes it as a type argument, such as <c>services.AddQuantizedModel&lt;Llama7bGptq4&gt;()</c>.</summary>
public interface IQuantizedModel
{
    /// <summary>What was built.</summary>
    static abstract QuantizedModelInfo Info { get; }
}
