//! The cases of the `Host` seam, for the local machine under several shells, the same over SSH, and the machine in
//! memory.

use super::rig::Rig;
use super::{files, jobs, locks, place};

macro_rules! contract {
    ($name:ident, $rig:expr) => {
        mod $name {
            use super::{Rig, files, jobs, locks, place};
            contract!(@cases $rig;
                files::a_file_is_written_with_its_mode_and_again_without_harm,
                files::a_file_that_is_what_its_edit_was_made_from_is_written,
                files::a_file_that_was_changed_since_is_left_alone_and_nothing_stays_behind,
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
                locks::a_lock_is_taken_renewed_and_given_back,
                locks::a_live_holder_is_named_with_the_seconds_that_are_left,
                locks::a_lock_of_another_boot_is_dead,
                locks::a_lock_that_was_not_renewed_in_time_is_dead_unless_it_is_renewed_after_all,
                locks::a_run_of_the_same_state_folder_takes_over_at_once,
                locks::a_run_whose_job_still_works_is_not_robbed,
                locks::of_several_at_once_one_gets_the_lock,
                locks::a_fenced_job_does_nothing_unless_its_run_holds_the_lock,
                locks::a_lock_is_no_job_and_a_job_no_lock,
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
contract!(ssh_dash, Rig::ssh("dash"));
contract!(ssh_busybox, Rig::ssh("busybox"));
