//! Connection strings, as the portal shows them. The SDK has none.
//!
//! <https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string>

use backstay_core::Secret;

/// The account that Azurite and its predecessors know by themselves, and its key, which their manuals print.
const DEVELOPMENT: (&str, &str, &str) = (
    "devstoreaccount1",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "http://127.0.0.1:10000/devstoreaccount1",
);

/// What one says. Its `Debug` shows no secret.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) account: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) suffix: Option<String>,
    pub(crate) plain: bool,
    pub(crate) key: Option<Secret<String>>,
    pub(crate) sas: Option<Secret<String>>,
}

/// Reads one, and says all that is wrong with it. What is wrong is told without values: they may be secrets.
pub(crate) fn parse(text: &str) -> (Parts, Vec<String>) {
    let (mut parts, mut wrong) = (Parts::default(), Vec::new());
    for (place, setting) in text.split(';').enumerate() {
        let setting = setting.trim();
        if setting.is_empty() {
            continue;
        }
        let Some((name, value)) = setting.split_once('=') else {
            wrong.push(format!("the connection string's setting {} has no `=`", place + 1));
            continue;
        };
        let value = value.trim();
        let text = || Some(value.to_owned());
        match name.trim().to_ascii_lowercase().as_str() {
            "accountname" => parts.account = text(),
            "accountkey" => parts.key = Some(Secret::new(value.to_owned())),
            "sharedaccesssignature" => parts.sas = Some(Secret::new(value.to_owned())),
            "blobendpoint" => parts.endpoint = text(),
            "endpointsuffix" => parts.suffix = text(),
            "defaultendpointsprotocol" => match value {
                "https" => parts.plain = false,
                "http" => parts.plain = true,
                _ => wrong.push("DefaultEndpointsProtocol is neither http nor https".to_owned()),
            },
            "usedevelopmentstorage" if value.eq_ignore_ascii_case("true") => {
                let (account, key, endpoint) = DEVELOPMENT;
                parts.account = Some(account.to_owned());
                parts.key = Some(Secret::new(key.to_owned()));
                parts.endpoint = Some(endpoint.to_owned());
            }
            "usedevelopmentstorage" => wrong.push("UseDevelopmentStorage can only be true".to_owned()),
            // Other services of the account.
            "queueendpoint" | "tableendpoint" | "fileendpoint" | "dfsendpoint" | "webendpoint" => {}
            "blobsecondaryendpoint" | "queuesecondaryendpoint" | "tablesecondaryendpoint" | "filesecondaryendpoint" => {
            }
            _ => wrong.push(format!("the connection string's setting {} is not known", place + 1)),
        }
    }
    if parts.key.is_some() && parts.sas.is_some() {
        wrong.push("the connection string has an AccountKey and a SharedAccessSignature: one is enough".to_owned());
    }
    if parts.key.is_none() && parts.sas.is_none() {
        wrong.push("the connection string has neither AccountKey nor SharedAccessSignature".to_owned());
    }
    (parts, wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let (parts, wrong) = parse(text);
        let Parts { account, endpoint, suffix, plain, key, sas } = parts;
        let key = key.map(|key| key.expose().clone());
        let sas = sas.map(|sas| sas.expose().clone());
        let some = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let all = [some(account), some(endpoint), some(suffix), some(key), some(sas)].join(" ");
        format!("{all} {plain} {}", wrong.len())
    }

    #[test]
    fn what_the_portal_shows_is_read() {
        let table = [
            (
                "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=S2V5==;EndpointSuffix=core.windows.net",
                "a - core.windows.net S2V5== - false 0",
            ),
            (
                "BlobEndpoint=https://a.blob.core.windows.net/;QueueEndpoint=x;SharedAccessSignature=sv=1&sig=a%3D%3D",
                "- https://a.blob.core.windows.net/ - - sv=1&sig=a%3D%3D false 0",
            ),
            (" accountname = a ; ACCOUNTKEY=k=; ; DefaultEndpointsProtocol=http", "a - - k= - true 0"),
            ("AccountName=a;AccountKey=k;SharedAccessSignature=s", "a - - k s false 1"),
            ("AccountName=a;Oops;What=1;UseDevelopmentStorage=no", "a - - - - false 4"),
            ("", "- - - - - false 1"),
        ];
        for (text, expected) in table {
            assert_eq!(told(text), expected, "{text}");
        }
        assert!(
            told("UseDevelopmentStorage=true").starts_with("devstoreaccount1 http://127.0.0.1:10000/devstoreaccount1")
        );
    }

    #[test]
    fn what_is_wrong_is_told_without_its_value() {
        let (parts, wrong) = parse("AccountKey=PLANTED;PLANTED;PLANTED=PLANTED;DefaultEndpointsProtocol=PLANTED");
        assert_eq!(wrong.len(), 3);
        assert!(!format!("{parts:?} {wrong:?}").contains("PLANTED"));
    }
}
