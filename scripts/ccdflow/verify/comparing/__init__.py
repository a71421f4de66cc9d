"""The cards, sections, sentences and HDUs of any product, compared with those that it must have."""
