//! Clusters of K3s as they are: what their nodes and their API tell, put together ([`status`]); what follows for a node that is
//! to leave ([`leave`]) or to be reset by itself ([`reset`]); and the plans that carry it out ([`plans`]). Pure: who asks is `cli`.

pub mod leave;
pub mod look;
pub mod plans;
pub mod reset;
pub mod status;
pub mod wishes;
