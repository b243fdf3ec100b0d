"""What the parts are made with, and no part itself."""
