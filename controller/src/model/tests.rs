//! Goal: the model keeps its rules, its invariants and its price.

mod cost_tests;
mod door_tests;
mod format_tests;
mod golden_tests;
mod group_tests;
mod invariant_tests;
mod property_tests;
mod rule_tests;
mod subtree_tests;
