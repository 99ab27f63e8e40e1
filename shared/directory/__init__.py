"""The directory copy: Microsoft Graph's delta query -> SQL."""
