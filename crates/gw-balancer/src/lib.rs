//! Load balancing without a runtime: weighted picks, consistent hashing, health as pure state machines
