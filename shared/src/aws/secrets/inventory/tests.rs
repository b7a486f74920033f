use super::*;
use aws_sdk_secretsmanager::{Client, operation::list_secrets::ListSecretsOutput as Page};
use aws_smithy_mocks::{RuleMode, mock, mock_client};

fn entries(range: std::ops::Range<usize>) -> Vec<SecretListEntry> {
    range.map(|i| SecretListEntry::builder().name(format!("app/{i:04}")).build()).collect()
}

#[tokio::test]
async fn a_thousand_secrets_are_ten_calls_and_an_empty_page_is_not_the_last() {
    let pages = mock!(Client::list_secrets)
        .match_requests(|r| {
            r.include_planned_deletion() == Some(true)
                && r.max_results() == Some(100)
                && r.filters()[0].values() == ["app/"]
        })
        .sequence()
        .output(|| Page::builder().next_token("empty").build())
        .output(|| Page::builder().set_secret_list(Some(entries(0..100))).next_token("1").build())
        .output(|| Page::builder().set_secret_list(Some(entries(100..200))).next_token("2").build())
        .output(|| Page::builder().set_secret_list(Some(entries(200..300))).next_token("3").build())
        .output(|| Page::builder().set_secret_list(Some(entries(300..400))).next_token("4").build())
        .output(|| Page::builder().set_secret_list(Some(entries(400..500))).next_token("5").build())
        .output(|| Page::builder().set_secret_list(Some(entries(500..600))).next_token("6").build())
        .output(|| Page::builder().set_secret_list(Some(entries(600..700))).next_token("7").build())
        .output(|| Page::builder().set_secret_list(Some(entries(700..800))).next_token("8").build())
        .output(|| Page::builder().set_secret_list(Some(entries(800..900))).next_token("9").build())
        .output(|| Page::builder().set_secret_list(Some(entries(900..1000))).build())
        .build();
    let client =
        SecretsManagerClient(mock_client!(aws_sdk_secretsmanager, RuleMode::Sequential, &[&pages]));
    let found = client.list_secrets("app/").await.expect("a list");
    assert_eq!((found.len(), pages.num_calls()), (1000, 11), "ten pages and the empty one");
}

#[test]
fn a_version_that_a_rotation_is_making_is_not_complete_and_one_in_use_is() {
    let labels = |l: &[&str]| l.iter().map(ToString::to_string).collect::<Vec<_>>();
    let state = SecretState {
        versions: BTreeMap::from([
            ("a".to_owned(), labels(&[PENDING])),
            ("b".to_owned(), labels(&[CURRENT, PENDING])),
            ("c".to_owned(), labels(&[PREVIOUS])),
        ]),
        ..SecretState::default()
    };
    let complete: Vec<_> = state.complete_versions().map(|(id, _)| id.as_str()).collect();
    assert_eq!((complete, state.version_with(PREVIOUS)), (vec!["b", "c"], Some("c")));
}
