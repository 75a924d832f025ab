# Makes jobs of `services.restic.backups` and `services.borgbackup.jobs` write the status file that the backups
# check reads: docs/checks/backups.md.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.services.compliance-agent;
  of = tool: lib.filterAttrs (_: job: job.tool == tool) cfg.backups;
  folder = name: "/var/lib/compliance-backups/${name}";
  status = name: "${folder name}/status.json";

  jobs = {
    restic = config.services.restic.backups;
    borg = config.services.borgbackup.jobs;
  };
  unit =
    name: job:
    {
      restic = "restic-backups-${name}.service";
      borg = "borgbackup-job-${name}.service";
    }
    .${job.tool};
  writes =
    name: job:
    "${cfg.package}/libexec/compliance/${job.tool}.sh backed-up ${
      lib.escapeShellArgs ([ (status name) ] ++ job.filters)
    }";
  # As NixOS hands them to the job itself: quoted, if need be, by whoever wrote them.
  resticOptions =
    name:
    lib.optionalString (jobs.restic.${name}.extraOptions != [ ]) (
      " --" + lib.concatMapStringsSep "" (option: " -o ${option}") jobs.restic.${name}.extraOptions
    );
  # systemd would look for specifiers and variables in it.
  forSystemd = lib.replaceStrings [ "%" "$" ] [ "%%" "$$" ];

  borg = of "borg";
  # What is added to a job that is there. A definition would make one of a name that is misspelt.
  borgJob =
    { name, ... }:
    {
      config = lib.mkIf (cfg.enable && borg ? ${name}) {
        readWritePaths = [ (folder name) ];
        postHook = ''
          if [ "$exitStatus" -eq 0 ]; then
            # A list in the job's script, or a text of an older one.
            [[ ''${extraArgs@a} == *a* ]] || extraArgs=($extraArgs)
            ${
              lib.optionalString borg.${name}.checkRepository "CHECK=1 "
            }${writes name borg.${name}} "''${extraArgs[@]}"
          fi
        '';
      };
    };

  jobOptions.options = {
    tool = mkOption {
      type = types.enum [
        "restic"
        "borg"
      ];
      example = "restic";
      description = "Whose job it is: of `services.restic.backups`, or of `services.borgbackup.jobs`.";
    };
    filters = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [
        "--tag"
        "records"
      ];
      description = "Which of the repository's snapshots are this job's, where others write there too: `--host`, `--tag` and `--path` of restic, `--glob-archives` of borg.";
    };
    checkRepository = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether the repository is checked after each backup (`restic check`, `borg check --last 1`). One that does not pass leaves the backup to go stale.";
    };
    maxAgeHours = mkOption {
      type = types.ints.positive;
      default = 48;
      example = 26;
      description = "How old the newest backup may be, in hours.";
    };
    maxRuntimeSec = mkOption {
      type = types.ints.positive;
      default = 3600;
      example = 14400;
      description = "How long the job may run when it is started to heal, in seconds.";
    };
    restoreTestMaxAgeDays = mkOption {
      type = types.nullOr types.ints.positive;
      default = null;
      example = 90;
      description = "How long ago a restore may last have been tested, in days; null asks for no test.";
    };
  };
in
{
  options.services.compliance-agent.backups = mkOption {
    type = types.attrsOf (types.submodule jobOptions);
    default = { };
    example = {
      records.tool = "restic";
    };
    description = "Backup jobs that the appliance watches, by the name that they have in `services.restic.backups` or `services.borgbackup.jobs`. Each then writes its status file, and stands in the baseline.";
  };

  options.services.borgbackup.jobs = mkOption {
    type = types.attrsOf (types.submodule borgJob);
  };

  config = lib.mkIf cfg.enable {
    assertions = lib.concatLists (
      lib.mapAttrsToList (name: job: [
        {
          assertion = jobs.${job.tool} ? ${name};
          message = "services.compliance-agent.backups.${name} is a job of ${job.tool} that there is none of: write the name of one in ${
            if job.tool == "restic" then "services.restic.backups" else "services.borgbackup.jobs"
          }.";
        }
        {
          assertion = builtins.match "[a-z0-9-]{1,63}" name != null;
          message = "services.compliance-agent.backups.${name}: the baseline knows jobs by 1 to 63 of a-z, 0-9 and -: name the job so.";
        }
      ]) cfg.backups
    );

    systemd.services = lib.mapAttrs' (
      name: job:
      lib.nameValuePair "restic-backups-${name}" {
        environment = lib.mkIf job.checkRepository { CHECK = "1"; };
        path = [ jobs.restic.${name}.package ];
        # systemd runs it only after a backup that ended well.
        serviceConfig.ExecStartPost = [ (forSystemd (writes name job) + resticOptions name) ];
      }
    ) (of "restic");

    systemd.tmpfiles.settings.compliance-backups = lib.mapAttrs' (
      name: job:
      lib.nameValuePair (folder name) {
        d = {
          mode = "0700";
          user = jobs.${job.tool}.${name}.user;
          group = "root";
        };
      }
    ) cfg.backups;

    # Added to what the baseline says otherwise.
    services.compliance-agent.baseline.backups.jobs = lib.mapAttrsToList (
      name: job:
      {
        inherit name;
        status_file = status name;
        run.unit = unit name job;
        max_age_h = job.maxAgeHours;
        max_runtime_s = job.maxRuntimeSec;
      }
      // lib.optionalAttrs (job.restoreTestMaxAgeDays != null) {
        restore_test_max_age_d = job.restoreTestMaxAgeDays;
      }
    ) cfg.backups;
  };
}
