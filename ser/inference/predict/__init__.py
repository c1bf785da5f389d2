"""Answers for files: what is asked, what is heard, what is answered, and in which form."""
