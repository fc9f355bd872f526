//! Sign-in from outside: passwords, sessions, second factors, API keys, other issuers, and the attacks on each.

mod address;
mod attacks;
mod control;
mod external;
mod factors;
mod gotrue;
mod identity;
mod input;
mod journal;
mod keyring;
mod keys;
mod lives;
mod lockout;
mod mailbox;
mod own;
pub mod place;
mod redirects;
mod replica;
mod roles;
mod rotation;
mod sessions;
mod supabase;
mod unproven;
