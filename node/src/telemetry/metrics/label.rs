//! The values of labels: closed sets, so that a set of labels is a place in an array and no client
//! can make a new time series.

/// Declares an enum whose variants are the values of a label.
macro_rules! labels {
    ($(#[doc = $about:literal])+ $name:ident { $($variant:ident = $text:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "the text beside each variant says what it is")]
        pub enum $name { $($variant,)+ }

        impl $name {
            /// All values, in the order of their place.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The text of the label.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

labels! {
    /// What a path of the public listener is about.
    Route {
        Base = "base",
        Catalog = "catalog",
        Registries = "registries",
        View = "view",
        Extensions = "extensions",
        Tags = "tags",
        Referrers = "referrers",
        Manifest = "manifest",
        Blob = "blob",
        Uploads = "uploads",
        Upload = "upload",
        Unknown = "unknown",
    }
}

labels! {
    /// The method of a request.
    Method {
        Get = "GET",
        Head = "HEAD",
        Post = "POST",
        Put = "PUT",
        Patch = "PATCH",
        Delete = "DELETE",
        Other = "other",
    }
}

labels! {
    /// Why a connection ended before its client wanted it to.
    Cut {
        HeaderTimeout = "header_timeout",
        MinRate = "min_rate",
        AddressLimit = "address_limit",
        NotHttp = "not_http",
        Drain = "drain",
    }
}

impl From<&http::Method> for Method {
    fn from(method: &http::Method) -> Self {
        match method.as_str() {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            _ => Method::Other,
        }
    }
}

/// The statuses that have their own time series, as number and text; the last stands for any other.
pub(super) const STATUSES: &[(u16, &str)] = &[
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (206, "206"),
    (304, "304"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (409, "409"),
    (411, "411"),
    (412, "412"),
    (413, "413"),
    (414, "414"),
    (415, "415"),
    (416, "416"),
    (417, "417"),
    (429, "429"),
    (431, "431"),
    (499, "499"),
    (500, "500"),
    (501, "501"),
    (503, "503"),
    (507, "507"),
    (0, "other"),
];

const _: () = {
    let mut index = 2;
    while index < STATUSES.len() {
        assert!(STATUSES[index - 2].0 < STATUSES[index - 1].0, "a binary search finds them");
        index += 1;
    }
};

/// The place of `status` in [`STATUSES`].
pub(super) fn status_index(status: u16) -> usize {
    let other = STATUSES.len() - 1;
    STATUSES[..other].binary_search_by_key(&status, |(number, _)| *number).unwrap_or(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_stands_at_its_own_place() {
        for (index, route) in Route::ALL.iter().enumerate() {
            assert_eq!(*route as usize, index);
        }
        for (index, (status, _)) in STATUSES.iter().enumerate().take(STATUSES.len() - 1) {
            assert_eq!(status_index(*status), index);
        }
        assert_eq!(STATUSES[status_index(418)].1, "other");
    }
}
