"""The sections of a report: records drawn as pictures, with a summary in words and a table under each."""
