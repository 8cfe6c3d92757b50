//! The cases of the `Host` seam, for the local machine under several shells and for the machine in memory.

use super::rig::Rig;
use super::{files, jobs, place};

macro_rules! contract {
    ($name:ident, $rig:expr) => {
        mod $name {
            use super::{Rig, files, jobs, place};
            contract!(@cases $rig;
                files::a_file_is_written_with_its_mode_and_again_without_harm,
                files::a_file_replaces_a_link_and_not_what_it_points_to,
                files::a_file_does_not_replace_a_folder_nor_go_into_it,
                files::a_missing_folder_is_an_error_of_the_job,
                files::a_folder_made_earlier_in_the_job_is_there_for_a_file,
                files::the_former_file_is_kept_once,
                jobs::any_content_arrives_as_it_is,
                files::five_megabytes_arrive,
                files::folders_are_made_with_those_above_them,
                files::attributes_change_on_what_is_there_only,
                files::a_link_replaces_a_link_and_nothing_else,
                files::removing_is_idempotent_and_spares_folders,
                files::odd_names_are_just_names,
                place::a_pinned_file_is_placed_whoever_fetches_it,
                place::a_file_of_an_archive_is_placed,
                place::a_pinned_file_replaces_a_link_and_no_folder,
                place::what_cannot_be_fetched_places_nothing,
                place::a_pin_that_cannot_be_said_to_a_shell_is_refused,
                jobs::a_program_gets_arguments_environment_and_input_as_they_are,
                jobs::a_program_runs_in_its_folder,
                jobs::exit_statuses_decide,
                jobs::the_first_failure_ends_the_job,
                jobs::a_program_that_is_not_there_is_said_to_be_missing,
                jobs::impossible_jobs_are_refused_before_anything_is_sent,
                jobs::output_is_capped_to_its_tail_and_streamed,
                jobs::a_job_that_takes_too_long_is_ended,
                jobs::a_second_job_is_refused_while_one_runs,
                jobs::an_id_is_used_once,
                jobs::an_abandoned_job_is_awaited,
                jobs::an_abandoned_job_is_ended,
                jobs::an_unknown_job_is_lost_and_never_begins,
                jobs::facts_are_read_after_the_job,
                jobs::every_fact_has_one_answer,
                jobs::leftover_jobs_show_as_facts,
            );
        }
    };
    (@cases $rig:expr; $($part:ident::$case:ident,)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                if let Some(rig) = $rig {
                    $part::$case(&rig).await;
                }
            }
        )*
    };
}

contract!(fake, Rig::fake());
contract!(dash, Rig::local("dash"));
contract!(bash, Rig::local("bash"));
contract!(busybox, Rig::local("busybox"));
