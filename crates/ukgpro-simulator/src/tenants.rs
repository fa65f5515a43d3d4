//! The tenants at run time: who may log in, which accounts are locked, and which tokens are valid.
//!
//! Built from a [`Config`]. Plain data with time as a parameter, so that tables can test it. It knows nothing of SOAP or HTTP.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::catalogue::Grant;
use crate::config::{Config, Secret, Status};

/// More tokens than a fleet of 10,000 connections obtains in an hour of normal checks. When the limit is reached, the token that
/// expires first is removed.
const MOST_TOKENS: usize = 50_000;

/// The credentials that a client presents at login.
pub(crate) struct Presented<'a> {
    /// The customer API key.
    pub(crate) customer_api_key: &'a str,
    /// The user name, case-sensitive.
    pub(crate) username: &'a str,
    /// The password.
    pub(crate) password: &'a str,
    /// The user API key, which REST does not send.
    pub(crate) user_api_key: Option<&'a str>,
}

/// Why a login is refused, as far as a client can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No tenant has this customer API key at this host.
    CustomerApiKey,
    /// User name, password or user API key is wrong, or the account is not active. A client cannot tell these apart.
    Account,
}

/// The names of a tenant and an account. They stay valid under a new configuration that still has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountName {
    /// Name of the tenant.
    pub(crate) tenant: String,
    /// User name within it.
    pub(crate) username: String,
}

/// All tenants.
#[derive(Debug)]
pub(crate) struct Tenants {
    tenants: Vec<Tenant>,
    by_name: HashMap<String, usize>,
    by_key: HashMap<(String, Secret), usize>,
    usernames: HashSet<String>,
    hosts: HashSet<String>,
    lock_after_refusals: Option<u32>,
}

/// One tenant.
#[derive(Debug)]
pub(crate) struct Tenant {
    name: String,
    people: usize,
    accounts: HashMap<String, Account>,
}

/// One service account.
#[derive(Debug)]
pub(crate) struct Account {
    password: Secret,
    user_api_key: Secret,
    status: Status,
    grants: Vec<Grant>,
    refusals: u32,
}

impl Account {
    /// Whether View is ticked for a SOAP service.
    pub(crate) fn may_read_soap(&self, service: &str) -> bool {
        self.grants.iter().any(|grant| grant.opens_soap(service))
    }

    /// Whether View is ticked for a REST path.
    pub(crate) fn may_read_rest(&self, path: &str) -> bool {
        self.grants.iter().any(|grant| grant.opens_rest(path))
    }
}

impl Tenant {
    /// Returns the number of persons.
    pub(crate) fn people(&self) -> usize {
        self.people
    }
}

impl Tenants {
    /// Creates the tenants of a checked configuration.
    pub(crate) fn new(config: &Config) -> Self {
        let mut by_name = HashMap::new();
        let mut usernames = HashSet::new();
        let mut by_key = HashMap::new();
        let mut hosts = HashSet::new();
        let mut tenants = Vec::with_capacity(config.tenants.len());
        for (index, tenant) in config.tenants.iter().enumerate() {
            by_name.insert(tenant.name.clone(), index);
            usernames.extend(tenant.accounts.iter().map(|account| account.username.clone()));
            for host in &tenant.hosts {
                hosts.insert(host.clone());
                by_key.insert((host.clone(), tenant.customer_api_key.clone()), index);
            }
            let accounts = tenant.accounts.iter().map(|account| {
                let grants = account.permissions.iter().filter_map(|text| Grant::parse(text).ok()).collect();
                let state = Account {
                    password: account.password.clone(),
                    user_api_key: account.user_api_key.clone(),
                    status: account.status,
                    grants,
                    refusals: 0,
                };
                (account.username.clone(), state)
            });
            tenants.push(Tenant { name: tenant.name.clone(), people: tenant.people, accounts: accounts.collect() });
        }
        Self { tenants, by_name, by_key, usernames, hosts, lock_after_refusals: config.lock_after_refusals }
    }

    /// Whether this host serves any tenant.
    pub(crate) fn serves(&self, host: &str) -> bool {
        self.hosts.contains(host)
    }

    /// Whether an account of any tenant has this user name.
    pub(crate) fn has_account(&self, username: &str) -> bool {
        self.usernames.contains(username)
    }

    /// Checks a login, and counts a refusal towards the lock of the account.
    pub(crate) fn log_in(&mut self, host: &str, presented: &Presented<'_>) -> Result<AccountName, Refusal> {
        let index = self.by_customer_key(host, presented.customer_api_key).ok_or(Refusal::CustomerApiKey)?;
        let limit = self.lock_after_refusals;
        let tenant = &mut self.tenants[index];
        let account = tenant.accounts.get_mut(presented.username).ok_or(Refusal::Account)?;
        let right = account.password.expose() == presented.password
            && presented.user_api_key.is_none_or(|key| account.user_api_key.expose() == key);
        if account.status == Status::Active && right {
            account.refusals = 0;
            return Ok(AccountName { tenant: tenant.name.clone(), username: presented.username.to_owned() });
        }
        account.refusals = account.refusals.saturating_add(1);
        if account.status == Status::Active && limit.is_some_and(|limit| account.refusals >= limit) {
            account.status = Status::Locked;
        }
        Err(Refusal::Account)
    }

    /// Returns a tenant and an account by name, if both still exist.
    pub(crate) fn find(&self, name: &AccountName) -> Option<(&Tenant, &Account)> {
        let tenant = &self.tenants[*self.by_name.get(&name.tenant)?];
        tenant.accounts.get(&name.username).map(|account| (tenant, account))
    }

    /// Whether the customer API key belongs to the named tenant at this host.
    pub(crate) fn is_key_of(&self, host: &str, customer_api_key: &str, name: &AccountName) -> bool {
        self.by_customer_key(host, customer_api_key).is_some_and(|index| self.tenants[index].name == name.tenant)
    }

    /// Returns the current status of an account, including a lock by refused logins.
    pub(crate) fn status(&self, tenant: &str, username: &str) -> Option<Status> {
        let name = AccountName { tenant: tenant.to_owned(), username: username.to_owned() };
        self.find(&name).map(|(_, account)| account.status)
    }

    fn by_customer_key(&self, host: &str, key: &str) -> Option<usize> {
        self.by_key.get(&(host.to_owned(), Secret::from(key))).copied()
    }
}

/// The tokens issued.
#[derive(Debug)]
pub(crate) struct Tokens {
    lifetime: Duration,
    tokens: HashMap<String, (AccountName, Instant)>,
}

impl Tokens {
    /// Creates an empty store.
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { lifetime, tokens: HashMap::new() }
    }

    /// Changes the lifetime of future tokens. Tokens already issued keep theirs.
    pub(crate) fn set_lifetime(&mut self, lifetime: Duration) {
        self.lifetime = lifetime;
    }

    /// Stores a token for an account.
    pub(crate) fn give(&mut self, token: String, account: AccountName, now: Instant) {
        if self.tokens.len() >= MOST_TOKENS {
            self.tokens.retain(|_, (_, until)| *until > now);
        }
        if self.tokens.len() >= MOST_TOKENS
            && let Some(first) = self.tokens.iter().min_by_key(|(_, (_, until))| *until).map(|(token, _)| token.clone())
        {
            self.tokens.remove(&first);
        }
        self.tokens.insert(token, (account, now + self.lifetime));
    }

    /// Returns the owner of a token that has not expired.
    pub(crate) fn owner(&self, token: &str, now: Instant) -> Option<&AccountName> {
        self.tokens.get(token).filter(|(_, until)| *until > now).map(|(account, _)| account)
    }
}

#[cfg(test)]
mod tests;
