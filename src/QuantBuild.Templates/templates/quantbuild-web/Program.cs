using System.Runtime.CompilerServices;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Models;
using QuantBuild;

WebApplicationBuilder builder = WebApplication.CreateBuilder(args);
// LanguageModel, IChatClient and IEmbeddingGenerator, loaded when one of them is first asked for.
builder.Services.AddQuantizedModel<Model>();
builder.Services.AddHealthChecks().AddCheck<ModelHealth>("model");

WebApplication app = builder.Build();
app.MapHealthChecks("/health");

// curl -N localhost:5000/chat -H 'Content-Type: application/json' -d '[{"role": "user", "text": "Who wrote Emma?"}]'
app.MapPost("/chat", (Message[] messages, IChatClient chat, CancellationToken cancellationToken) => TypedResults.ServerSentEvents(Answer(messages, chat, cancellationToken)));

app.Run();

// The pieces of the answer as they come. A client that hangs up cancels.
static async IAsyncEnumerable<string> Answer(Message[] messages, IChatClient chat, [EnumeratorCancellation] CancellationToken cancellationToken)
{
    IEnumerable<ChatMessage> conversation = messages.Select(message => new ChatMessage(new ChatRole(message.Role), message.Text));
    await foreach (ChatResponseUpdate update in chat.GetStreamingResponseAsync(conversation, cancellationToken: cancellationToken))
    {
        if (update.Text.Length > 0) yield return update.Text;
    }
}

/// <summary>A message: its role is system, user or assistant.</summary>
internal sealed record Message(string Role, string Text);

/// <summary>Healthy once the model is loaded; the first request loads it.</summary>
internal sealed class ModelHealth(IServiceProvider services) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        try
        {
            return Task.FromResult(HealthCheckResult.Healthy(services.GetRequiredService<LanguageModel>().Manifest.ModelName));
        }
        catch (QuantBuildException e)
        {
            return Task.FromResult(HealthCheckResult.Unhealthy($"{e.Id}: {e.Message}", e));
        }
    }
}
