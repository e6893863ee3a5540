namespace QuantBuild;

/// <summary>The words of a text: what stands between white space and has a letter.</summary>
public static class Words
{
    /// <summary>How many there are.</summary>
    public static int Count(string text)
    {
        int count = 0;
        bool hasLetter = false;
        foreach (char c in text)
        {
            if (char.IsWhiteSpace(c)) hasLetter = false;
            else if (!hasLetter && char.IsLetter(c))
            {
                hasLetter = true;
                count++;
            }
        }

        return count;
    }
}
