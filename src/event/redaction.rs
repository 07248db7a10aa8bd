//! What must not be printed: passwords and tokens inside events.
