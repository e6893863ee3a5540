using System.Text.Json;
using System.Text.Json.Nodes;
using FsCheck;
using FsCheck.Fluent;
using QuantBuild.Constraints;

namespace QuantBuild.Runtime.Tests.Constraints;

public class RandomSchemaTests
{
    private static readonly string[] Names = ["a", "ab", "name", "né\"e", "日本", "x y", ""];

    [Fact]
    public void Any_schema_of_the_subset_yields_valid_JSON_from_random_logits()
    {
        int seed = 0, written = 0;
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(150), Prop.ForAll(Arb.From(Documents()), schema =>
        {
            TokenConstraint constraint;
            try
            {
                constraint = RandomDecoding.Constraint(OutputFormat.JsonSchema(schema));
            }
            catch (QuantBuildException e)
            {
                // Bounds that exclude each other, a property that needs itself, or a definition that is nothing but itself.
                Assert.Matches("No finite text|may begin with itself", e.Message);
                return;
            }

            for (int i = 0; i < 3; i++)
            {
                string json = RandomDecoding.Run(constraint, constraint.Start.BytesToEnd + (60 * i), seed++);
                Assert.True(SchemaValidator.Accepts(schema, json), $"{schema} refuses {json}");
                written++;
            }
        }));
        Assert.True(written > 300);
    }

    private static Gen<string> Documents()
    {
        Gen<JsonObject> root = Schemas(3);
        return from schema in root
               from definition in Schemas(2)
               select With(schema, ("$defs", new JsonObject { ["d"] = definition.DeepClone() })).ToJsonString();
    }

    private static Gen<JsonObject> Schemas(int depth)
    {
        Gen<JsonObject> scalar = Gen.OneOf(
            Strings(), Numbers("integer"), Numbers("number"), Values(),
            Gen.Elements("boolean", "null", "string", "integer").Select(type => new JsonObject { ["type"] = type }),
            Gen.SubListOf("boolean", "null", "string", "number").Where(types => types.Count > 0).Select(types =>
                new JsonObject { ["type"] = new JsonArray([.. types.Select(type => (JsonNode)type)]) }),
            Gen.Constant(new JsonObject()));
        if (depth == 0) return Gen.Frequency((6, scalar), (1, Gen.Elements("#/$defs/d", "#").Select(target => new JsonObject { ["$ref"] = target })));
        return Gen.Frequency((2, scalar), (3, Objects(depth)), (2, Arrays(depth)), (1, Unions(depth)));
    }

    private static Gen<JsonObject> Strings() => Gen.OneOf(
        from min in Gen.Choose(0, 3)
        from more in Gen.Choose(0, 6)
        select new JsonObject { ["type"] = "string", ["minLength"] = min, ["maxLength"] = min + more },
        Gen.Elements("^[a-f]{2,5}$", "^(ab|c\\d)*$", "x\\.y", "^\\w+ [^a-z]?$", "^[\\u00e0-\\u00ff\\\"]{1,3}", "^.{0,4}$").Select(pattern =>
            new JsonObject { ["type"] = "string", ["pattern"] = pattern }),
        Gen.Elements("date", "time", "date-time", "uuid", "email", "uri", "ipv4").Select(format => new JsonObject { ["type"] = "string", ["format"] = format }));

    private static Gen<JsonObject> Numbers(string type) =>
        from min in Gen.Choose(-2000, 2000)
        from more in Gen.Choose(0, 3000)
        from kind in Gen.Choose(0, 4)
        let schema = new JsonObject { ["type"] = type }
        select kind switch
        {
            0 => With(schema, ("minimum", min), ("maximum", min + more)),
            1 => With(schema, ("minimum", min)),
            2 => With(schema, ("exclusiveMaximum", min)),
            3 => With(schema, ("exclusiveMinimum", min), ("maximum", min + more)),
            _ => schema,
        };

    private static Gen<JsonObject> Values() =>
        Gen.SubListOf("1", "\"é\"", "null", "{\"a\":[true,1.50]}", "\"\\u0001\\\\\"", "[]").Where(values => values.Count > 0).Select(values =>
            new JsonObject { ["enum"] = new JsonArray([.. values.Select(value => JsonNode.Parse(value))]) });

    private static Gen<JsonObject> Objects(int depth) =>
        from names in Gen.SubListOf(Names)
        from schemas in Gen.ListOf(Schemas(depth - 1), names.Count)
        from required in Gen.SubListOf(names.Append("more"))
        from additional in Gen.Choose(0, 3)
        from other in Schemas(depth - 1)
        let schema = new JsonObject
        {
            ["type"] = "object",
            ["properties"] = new JsonObject([.. names.Zip(schemas).Select(p => KeyValuePair.Create(p.First, (JsonNode?)p.Second.DeepClone()))]),
            // An additional property that is required would be refused where additional ones are.
            ["required"] = new JsonArray([.. required.Where(name => additional != 0 || name != "more").Select(name => (JsonNode)name)]),
        }
        select additional switch
        {
            0 => With(schema, ("additionalProperties", false)),
            1 => With(schema, ("additionalProperties", other.DeepClone())),
            2 => With(schema, ("additionalProperties", true)),
            _ => schema,
        };

    private static Gen<JsonObject> Arrays(int depth) =>
        from items in Schemas(depth - 1)
        from prefix in Gen.ListOf(Schemas(depth - 1), 2)
        from prefixLength in Gen.Choose(0, 2)
        from min in Gen.Choose(0, 3)
        from more in Gen.Choose(-1, 3)
        let schema = With(new JsonObject { ["type"] = "array" }, ("items", items.DeepClone()), ("minItems", min))
        let bounded = more < 0 ? schema : With(schema, ("maxItems", min + more))
        select prefixLength == 0 ? bounded : With(bounded, ("prefixItems", new JsonArray([.. prefix.Take(prefixLength).Select(item => item.DeepClone())])));

    private static Gen<JsonObject> Unions(int depth) =>
        from branches in Gen.ListOf(Schemas(depth - 1), 2)
        from name in Gen.Elements("anyOf", "oneOf")
        select new JsonObject { [name] = new JsonArray([.. branches.Select(branch => branch.DeepClone())]) };

    private static JsonObject With(JsonObject schema, params (string Name, JsonNode? Value)[] more)
    {
        JsonObject copy = schema.DeepClone().AsObject();
        foreach ((string name, JsonNode? value) in more) copy[name] = value?.DeepClone();
        return copy;
    }
}
