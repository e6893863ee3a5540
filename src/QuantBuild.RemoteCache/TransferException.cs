using System.Net;
using Azure;
using Azure.Identity;

namespace QuantBuild;

/// <summary>A remote store could not be asked, or refused.</summary>
internal sealed class TransferException : Exception
{
    /// <summary>An answer that cannot be right.</summary>
    /// <param name="reason">What is wrong with it.</param>
    /// <param name="isTransient">Whether asking again may help.</param>
    public TransferException(string reason, bool isTransient)
        : base(reason) => IsTransient = isTransient;

    private TransferException(Exception cause)
        // The first line: Azure's messages go on with headers.
        : base(cause.Message.Split('\n')[0].Trim().TrimEnd('.'), cause)
    {
        IsTransient = cause switch
        {
            HttpRequestException { StatusCode: { } status } => status >= HttpStatusCode.InternalServerError || status is HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests,
            HttpRequestException { HttpRequestError: HttpRequestError.NameResolutionError or HttpRequestError.SecureConnectionError } => false,
            // Azure's client has tried again itself.
            RequestFailedException or AuthenticationFailedException or UnauthorizedAccessException => false,
            _ => true,
        };
        Advice = cause switch
        {
            HttpRequestException { StatusCode: HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden } =>
                $"Set {RemoteCacheLocation.TokenVariable} or {RemoteCacheLocation.UserVariable} in the environment to credentials that may do this.",
            RequestFailedException { Status: 401 or 403 } or AuthenticationFailedException => "Sign in (az login), or set AZURE_STORAGE_SAS_TOKEN in the environment.",
            _ => "",
        };
    }

    /// <summary>Whether asking again may help.</summary>
    public bool IsTransient { get; }

    /// <summary>What to do; empty where there is nothing to say.</summary>
    public string Advice { get; } = "";

    /// <summary>Asks a store something; what goes wrong there comes out as this exception.</summary>
    /// <param name="question">Asks it.</param>
    /// <param name="silence">After how long without an answer there will be none.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public static async Task<T> Wrap<T>(Func<CancellationToken, Task<T>> question, TimeSpan silence, CancellationToken cancellationToken)
    {
        using CancellationTokenSource limited = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limited.CancelAfter(silence);
        try
        {
            return await question(limited.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new TransferException($"nothing came for {silence.TotalSeconds:F0} seconds", isTransient: true);
        }
        catch (AggregateException e) when (e.InnerException is not null)
        {
            // Azure's client gathers what each of its attempts met.
            throw new TransferException(e.InnerException);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or HttpRequestException or RequestFailedException or AuthenticationFailedException)
        {
            throw new TransferException(e);
        }
    }
}
