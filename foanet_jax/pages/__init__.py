"""What people look at: pictures, study pages, reports."""
