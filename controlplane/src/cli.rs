//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

/// The control plane of Tenantry.
#[derive(Debug, Parser)]
#[command(name = "tenantry-controlplane", version, about)]
pub struct Cli {
    /// A settings file in YAML. The environment (TENANTRY__SECTION__KEY) wins over it.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the API.
    Serve,
    /// Work in the background: bring documents into the search indexes.
    Work,
    /// Issue an access token and print it.
    Token(TokenArgs),
    /// Print what the API of every tenant has in common, as OpenAPI 3.1.
    Openapi,
    /// Check the audit journal.
    Audit {
        /// What to do.
        #[command(subcommand)]
        command: AuditCommand,
    },
}

/// What to do with the audit journal.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Find rows that were changed, removed or inserted since they were sealed; fails when there are any.
    Verify(AuditOf),
    /// After a change of the key: sign the ends of chains in which nothing else is wrong with the new key.
    Sign(AuditOf),
}

/// Whose audit journal.
#[derive(Debug, Args)]
pub struct AuditOf {
    /// The tenant's name; every tenant unless given.
    #[arg(long)]
    pub tenant: Option<String>,
}

/// Whom a token is for.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The tenant's name.
    #[arg(long)]
    pub tenant: String,
    /// The user's id.
    #[arg(long)]
    pub user: String,
    /// A role: `admin`, or APP:ROLE as in crm:sales. May be given several times.
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<String>,
    /// How long it lives, as in 90s, 15m or 24h; a day at most.
    #[arg(long, default_value = "15m", value_parser = parse_ttl)]
    pub ttl: Duration,
}

fn parse_ttl(text: &str) -> Result<Duration, String> {
    let usage = || "write a number and s, m or h, as in 15m".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(usage)?;
    let number: u64 = number.parse().map_err(|_| usage())?;
    let seconds = match unit {
        "s" => Some(number),
        "m" => number.checked_mul(60),
        "h" => number.checked_mul(3600),
        _ => None,
    };
    let ttl = seconds.map(Duration::from_secs).ok_or_else(usage)?;
    if ttl.is_zero() || ttl > crate::auth::token::MAX_LIFETIME {
        return Err("a token lives from 1s to 24h".to_owned());
    }
    Ok(ttl)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lifetimes_have_a_unit_and_an_end() {
        assert_eq!(parse_ttl("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_ttl("24h"), Ok(Duration::from_secs(24 * 3600)));
        for wrong in ["", "m", "15", "15d", "0s", "25h", "-1m", "99999999999999999999h", "1é"] {
            assert!(parse_ttl(wrong).is_err(), "{wrong}");
        }
    }
}
