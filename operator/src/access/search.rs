//! Keys of the search engine.

use tenantry_crds::names::SearchKeyUid;

use super::{
    desired::Credential,
    secret::{self, Account, Address, Contents},
    work::Work,
};
use crate::{
    backend::{postgres::access::AccessRecord, search::SearchKey},
    error::Error,
};

impl Work<'_> {
    pub(super) async fn open_search(&self, wanted: &Credential, row: &AccessRecord) -> Result<(), Error> {
        let Credential { key, level, .. } = wanted;
        let search_key = SearchKey {
            uid: self.key_uid(&key.access, row.serial),
            name: format!("Tenantry: {}/{}", self.tenant.name, key.access),
            indexes: self.indexes.clone(),
            level: *level,
        };
        self.ctx.leadership.check()?;
        self.placed.search()?.engine.ensure_key(&search_key).await
    }

    pub(super) async fn close_search(&self, keys: &[SearchKeyUid]) -> Result<(), Error> {
        self.ctx.leadership.check()?;
        for key in keys {
            self.placed.search()?.engine.remove_key(key).await?;
        }
        Ok(())
    }

    pub(super) fn search_secret(&self, account: &Account) -> Result<Contents, Error> {
        let own = self.placed.search()?.engine.url();
        let url = secret::public(own, self.public_addresses()).unwrap_or(own);
        let parsed = reqwest::Url::parse(url).map_err(Error::data("reading access.publicAddresses"))?;
        let address = Address {
            host: parsed.host_str().unwrap_or_default().to_owned(),
            port: parsed.port_or_known_default().unwrap_or_default(),
        };
        Ok(secret::search(&address, account, url, &format!("{}_", self.tenant.name)))
    }
}
