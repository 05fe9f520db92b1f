"""The backends that come with the plugin, a file each; what they import at their tops any interpreter has."""
