//! Where the nodes of a cluster that was found join it, as lines for its inventory.

use std::collections::BTreeSet;

use crate::steps::shared::k3s::setting::quoted;

/// Where nodes join; `api`: the cluster's address in the inventory. An address that all of them name is that of the cluster.
pub fn of(urls: &[(&str, &str)], api: Option<&str>) -> Vec<String> {
    let shown: Vec<(&str, &str)> = urls
        .iter()
        .copied()
        .filter(|(_, url)| !url.contains('@'))
        .collect();
    let urls = shown.as_slice();
    let all: BTreeSet<&str> = urls.iter().map(|(_, url)| *url).collect();
    let one = all.first().filter(|_| all.len() == 1);
    let nodes: Vec<&str> = urls.iter().map(|(node, _)| *node).collect();
    match one.and_then(|url| host(url)) {
        Some(host) if api == Some(host) => Vec::new(),
        Some(host) => vec![format!(
            "# [cluster] api_address = {}: where {} join",
            quoted(host),
            nodes.join(", ")
        )],
        None => {
            let words = |(node, url): &(&str, &str)| format!("# {node} joins at {}", quoted(url));
            urls.iter().map(words).collect()
        }
    }
}

/// The address in the URL of a server at the usual port.
fn host(url: &str) -> Option<&str> {
    let host = url.strip_prefix("https://")?.trim_end_matches('/');
    let host = host.strip_suffix(":6443")?;
    let host = match host.strip_prefix('[') {
        Some(inside) => inside.strip_suffix(']')?,
        None => host,
    };
    (!host.is_empty() && !host.contains(['/', '@'])).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_where_all_join_is_that_of_the_cluster() {
        let same = [
            ("n2", "https://192.0.2.9:6443"),
            ("n3", "https://192.0.2.9:6443"),
        ];
        assert_eq!(
            of(&same, None),
            ["# [cluster] api_address = \"192.0.2.9\": where n2, n3 join"]
        );
        assert_eq!(of(&same, Some("192.0.2.9")), [""; 0]);
        assert_eq!(of(&[], None), [""; 0]);
        assert_eq!(host("https://[2001:db8::1]:6443/"), Some("2001:db8::1"));
        let apart = [("n2", "https://n1:6443"), ("n3", "https://lb:443")];
        assert_eq!(
            of(&apart, None),
            [
                "# n2 joins at \"https://n1:6443\"",
                "# n3 joins at \"https://lb:443\""
            ]
        );
    }
}
