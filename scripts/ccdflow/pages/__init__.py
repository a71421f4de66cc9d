"""Pictures and pages: values in, PNG bytes and HTML out."""
