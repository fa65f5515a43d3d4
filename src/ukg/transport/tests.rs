//! Stages as the connector sees them.
