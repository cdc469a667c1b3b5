"""Views: text made from plans, events and findings; nothing here prints."""
