using System.Reflection;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Xml.Linq;

namespace QuantBuild.Tasks.Tests;

/// <summary>The property page that an IDE shows says what the code understands.</summary>
public class PropertyPageTests
{
    private const string Types = "{clr-namespace:Microsoft.Build.Framework.XamlTypes;assembly=Microsoft.Build.Framework}";

    private static readonly XElement Page = XElement.Load(Path.Combine(Metadata("RepositoryRoot"), "build/Rules/QuantizedModel.xaml"));

    private static IEnumerable<XElement> Properties => Page.Descendants().Where(e => e.Name.LocalName.EndsWith("Property", StringComparison.Ordinal));

    [Fact]
    public void It_has_each_metadata_once_with_a_description_and_a_category()
    {
        Assert.Equal(MetadataNames.Known.Order(StringComparer.Ordinal), Properties.Select(p => (string)p.Attribute("Name")!).Order(StringComparer.Ordinal));
        string[] categories = [.. Page.Descendants(Types + "Category").Select(c => (string)c.Attribute("Name")!)];
        Assert.All(Properties, property =>
        {
            Assert.NotEmpty((string)property.Attribute("Description")!);
            Assert.NotEmpty((string)property.Attribute("DisplayName")!);
            Assert.Contains((string)property.Attribute("Category")!, categories);
        });
    }

    [Fact]
    public void It_offers_the_methods_widths_and_uses_that_there_are()
    {
        Assert.Equal([.. Enum.GetNames<QuantizationMethod>().Append(AutoMethod.Name).Order(StringComparer.Ordinal)], Values("Method").Order(StringComparer.Ordinal));
        Assert.Equal(QuantizationSpec.SupportedBits.Select(bits => $"{bits}"), Values("Bits"));
        Assert.Equal(Enum.GetNames<ModelUse>().Order(StringComparer.Ordinal), Values("Use").Order(StringComparer.Ordinal));
        foreach (string size in Values("BlockSize")) QuantizationSpec.FromMetadata(name => name == "Method" ? "Nf4" : name == "BlockSize" ? size : null);
    }

    [Fact]
    public void Its_defaults_are_those_of_the_code()
    {
        Assert.Equal(new QuantizationSpec().Method.ToString(), Default("Method"));
        Assert.Equal($"{new QuantizationSpec().Bits}", Default("Bits"));
        Assert.Equal($"{new QuantizationSpec { Method = QuantizationMethod.Nf4 }.BlockSize}", Default("BlockSize"));
    }

    // An IDE ignores a page with an element or attribute that it does not know, and says nothing.
    [Fact]
    public void It_is_made_of_elements_and_attributes_that_MSBuild_has()
    {
        using PEReader file = new(File.OpenRead(Metadata("PropertyPageTypes")));
        MetadataReader assembly = file.GetMetadataReader();
        Assert.All(Page.DescendantsAndSelf(), element =>
        {
            Assert.Equal(Types, "{" + element.Name.NamespaceName + "}");
            // <Rule.Categories> is the property Categories of Rule.
            string[] names = element.Name.LocalName.Split('.');
            HashSet<string> known = PropertiesOf(assembly, names[0]);
            Assert.NotEmpty(known);
            Assert.Empty(names[1..].Concat(element.Attributes().Where(a => !a.IsNamespaceDeclaration).Select(a => a.Name.LocalName)).Except(known));
        });
    }

    /// <summary>The names of a type's properties, those that it inherits too.</summary>
    private static HashSet<string> PropertiesOf(MetadataReader assembly, string typeName)
    {
        TypeDefinition? Find(string name) => assembly.TypeDefinitions.Select(assembly.GetTypeDefinition)
            .Where(t => assembly.GetString(t.Name) == name && assembly.GetString(t.Namespace) == "Microsoft.Build.Framework.XamlTypes").Cast<TypeDefinition?>().SingleOrDefault();
        HashSet<string> names = [];
        for (TypeDefinition? type = Find(typeName); type is { } t;)
        {
            names.UnionWith(t.GetProperties().Select(p => assembly.GetString(assembly.GetPropertyDefinition(p).Name)));
            type = t.BaseType.Kind == HandleKind.TypeDefinition ? assembly.GetTypeDefinition((TypeDefinitionHandle)t.BaseType) : null;
        }

        return names;
    }

    private static IEnumerable<string> Values(string name) =>
        Properties.Single(p => (string)p.Attribute("Name")! == name).Elements(Types + "EnumValue").Select(value => (string)value.Attribute("Name")!);

    private static string Default(string name) => (string)Properties.Single(p => (string)p.Attribute("Name")! == name).Elements(Types + "EnumValue")
        .Single(value => (string?)value.Attribute("IsDefault") == "true").Attribute("Name")!;

    private static string Metadata(string key) =>
        typeof(PropertyPageTests).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == key).Value!;
}
