use super::*;
use clap::CommandFactory;

#[test]
fn the_command_line_holds_together() {
    CliArgs::command().debug_assert();
}

#[test]
fn every_command_has_examples() {
    fn check_examples(command: &clap::Command) {
        for sub in command.get_subcommands() {
            if sub.has_subcommands() {
                check_examples(sub);
            } else {
                let after = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(after.contains("holdfast"), "{} has no example", sub.get_name());
            }
        }
    }
    check_examples(&CliArgs::command());
}

#[test]
fn a_wrong_argument_is_refused_with_what_to_write() {
    let refused = |line: &str| {
        let e = CliArgs::try_parse_from(line.split(' ')).expect_err(line);
        assert_eq!(e.exit_code(), 2, "{line}");
        let said = e.to_string();
        said.lines().next().unwrap_or_default().to_owned()
    };
    let said: Vec<_> = [
        "holdfast status --policy s3://bucket",
        "holdfast run backup",
        "holdfast run snapshot --timeout 15",
        "holdfast gate --reason schedule",
        "holdfast gate --request a\nb",
        "holdfast status --topic arn:aws:sqs:eu-west-1:111122223333:q",
        "holdfast explain",
    ]
    .into_iter()
    .map(refused)
    .collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    error: invalid value 's3://bucket' for '--policy <PATH|s3://BUCKET/KEY>': write s3://bucket/key
    error: invalid value 'backup' for '<FUNCTION>'
    error: invalid value '15' for '--timeout <TIME>': "15" is not a length of time: write a whole number above zero and a unit (s, m, h, d, w, mo, y), such as "35d" or "25h"
    error: invalid value 'schedule' for '--reason <REASON>': a gate has a reason of its own; `holdfast run snapshot` takes what is due
    error: invalid value 'a
    error: invalid value 'arn:aws:sqs:eu-west-1:111122223333:q' for '--topic <ARN>': it is not the ARN of an SNS topic
    error: the following required arguments were not provided:
    "#);
}

#[test]
fn an_empty_topic_is_none_and_global_options_go_anywhere() {
    let args = CliArgs::try_parse_from(["holdfast", "status", "--json", "--topic", ""]);
    let args = args.expect("it parses");
    assert!(args.global.json);
    assert_eq!(args.global.topic, Some(TopicArg(None)));
}
