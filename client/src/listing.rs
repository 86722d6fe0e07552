//! Listings: page after page, gathered up to a bound.

use std::{collections::BTreeMap, sync::Arc};

use http::header;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    Digest, RepoName, Tag,
    auth::Scope,
    endpoint::Endpoint,
    engine::Engine,
    error::RequestError,
    exchange::{Sending, resolve},
    manifest::Descriptor,
    perform::{Ask, AskError},
    placement::Aim,
};

/// The longest page that is read.
const PAGE_BYTES_MAX: usize = 16 << 20;
/// Entries that are asked for at a time.
const PAGE_ENTRIES: usize = 1000;
/// How often one page may break on its way.
const BROKEN_MAX: u32 = 5;

/// A manifest that refers to another.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// What it is.
    #[serde(flatten)]
    pub descriptor: Descriptor,
    /// Its artifact type, if it has one.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// Its annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Tags {
    // Some registries write null for an empty list.
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Catalog {
    repositories: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Referrer>,
}

impl Engine {
    pub(crate) async fn tags(self: &Arc<Self>, repo: &RepoName) -> Result<Vec<Tag>, RequestError> {
        let what = format!("listing the tags of `{repo}`");
        let path = format!("/v2/{repo}/tags/list?n={PAGE_ENTRIES}");
        let aim = Aim::Name(repo.to_string());
        let pages: Vec<Tags> = self.pages(&what, path, aim, Scope::pull(repo)).await?;
        Ok(valid(pages.into_iter().filter_map(|page| page.tags)))
    }

    pub(crate) async fn catalog(self: &Arc<Self>) -> Result<Vec<RepoName>, RequestError> {
        let what = "listing the repositories".to_owned();
        let path = format!("/v2/_catalog?n={PAGE_ENTRIES}");
        let aim = Aim::Name(String::new());
        let pages: Vec<Catalog> = self.pages(&what, path, aim, Scope::catalog()).await?;
        Ok(valid(pages.into_iter().filter_map(|page| page.repositories)))
    }

    pub(crate) async fn referrers(
        self: &Arc<Self>,
        repo: &RepoName,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Referrer>, RequestError> {
        let what = format!("listing what refers to `{repo}@{digest}`");
        let mut path = format!("/v2/{repo}/referrers/{digest}");
        if let Some(wanted) = artifact_type {
            let mut query = form_urlencoded::Serializer::new(String::new());
            path = format!("{path}?{}", query.append_pair("artifactType", wanted).finish());
        }
        let aim = Aim::Name(repo.to_string());
        let pages: Vec<Index> = self.pages(&what, path, aim, Scope::pull(repo)).await?;
        let all = pages.into_iter().flat_map(|page| page.manifests);
        // A registry may leave the filter to its clients.
        let fits = |one: &Referrer| {
            artifact_type.is_none() || one.artifact_type.as_deref() == artifact_type
        };
        Ok(all.filter(fits).collect())
    }

    /// All pages, following `Link` until there is none.
    async fn pages<T: DeserializeOwned>(
        self: &Arc<Self>,
        what: &str,
        path: String,
        aim: Aim,
        scope: Scope,
    ) -> Result<Vec<T>, RequestError> {
        let mut pages = Vec::new();
        let mut next = Some(path);
        while let Some(path) = next.take() {
            let ask =
                Ask::new(what.to_owned(), aim.clone(), scope.clone(), Sending::get(path.clone()));
            let (page, link) = self.page(&ask).await?;
            pages.push(page);
            // The same page again would never end.
            next = link.filter(|link| *link != path);
            if pages.len() * PAGE_ENTRIES > self.limits().listing_entries_max {
                break;
            }
        }
        Ok(pages)
    }

    async fn page<T: DeserializeOwned>(
        self: &Arc<Self>,
        ask: &Ask,
    ) -> Result<(T, Option<String>), RequestError> {
        let mut broken = 0;
        loop {
            let mut answer = match self.perform(ask).await {
                Ok(answer) => answer,
                Err(AskError::Request(error)) => return Err(error),
                Err(AskError::Source(error)) => {
                    let node = &self.seeds[0].1;
                    return Err(Engine::strange(&ask.what, node, error.to_string(), "a page"));
                }
            };
            let node = answer.endpoint.clone();
            let link = answer.header(&header::LINK).and_then(|value| next_page(value, &node));
            match answer.whole(PAGE_BYTES_MAX).await {
                Ok(body) => {
                    let page = serde_json::from_slice(&body);
                    let page = page.map_err(|error| {
                        Engine::strange(
                            &ask.what,
                            &node,
                            error.to_string(),
                            "the JSON of a listing",
                        )
                    })?;
                    return Ok((page, link));
                }
                Err(_) if broken < BROKEN_MAX => {
                    broken += 1;
                    self.directory.suspect(&node, self.limits().suspect_for);
                }
                Err(error) => {
                    return Err(Engine::strange(
                        &ask.what,
                        &node,
                        error.to_string(),
                        "a whole page",
                    ));
                }
            }
        }
    }
}

/// The path of `<…>; rel="next"`; none that leads to another host.
fn next_page(link: &str, node: &Endpoint) -> Option<String> {
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    if !parameters.replace([' ', '"'], "").contains("rel=next") {
        return None;
    }
    let (place, path) = resolve(target, node)?;
    place.is_same_origin(node).then_some(path)
}

/// Names as they should be; others cannot be asked for, so they are left out.
fn valid<T: std::str::FromStr>(pages: impl Iterator<Item = Vec<String>>) -> Vec<T> {
    pages.flatten().filter_map(|name| name.parse().ok()).collect()
}
