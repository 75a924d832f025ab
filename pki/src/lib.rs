//! The certificates of one tenant: its authority, servers, appliances and operators.
