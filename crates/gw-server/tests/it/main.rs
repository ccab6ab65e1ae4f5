//! What a user of the program sees, and the rules its sources keep.

mod tidy; // arrows between crates, no runtime in the pure ones, how files are kept
