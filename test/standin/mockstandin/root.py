"""The build root: a chroot of the container's own /usr and a copy of its /etc, its life, and what is run in it."""
import contextlib
import fcntl
import glob
import logging
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time

from .packages import BASE, Packages, query
from .report import VERSION, Error, build_log, log, state, state_log


@contextlib.contextmanager
def as_user(uid, gid):
    """What happens within is allowed to, and owned by, the unprivileged user."""
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


class Root:
    def __init__(self, opts):
        self.opts, self.uid, self.gid = opts, opts["chrootuid"], opts["chrootgid"]
        self.base = os.path.join(opts["basedir"], opts["root"])
        self.path = os.path.join(self.base, "root")
        self.resultdir = opts["resultdir"]
        self.env = {**opts["environment"], "HOME": "/builddir"}
        self.build = self.path + "/builddir/build"
        self.packages = Packages(opts, self.path, self.env)
        self.initialised = False  # was it, when we came?

    def run(self, cmd, logger=log, shell=False, chroot=True, user=False, cwd=None, show=False, timeout=0, check=True):
        """Runs a command, by default in the root. Returns its output and exit code, and writes the logs."""
        def prepare():
            os.setsid()
            if chroot:
                os.chroot(self.path)
                os.chdir("/")
            if user:
                os.setregid(self.gid, self.gid)
                os.setreuid(self.uid, self.uid)
            if cwd:
                os.chdir(cwd)
        logger.debug("Executing command: %s with env %s and shell %s", cmd, self.env, shell)
        child = subprocess.Popen(cmd, shell=shell, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, preexec_fn=prepare)

        def kill(number):  # as the user that it runs as: there is no CAP_KILL
            with as_user(self.uid, self.gid) if user else contextlib.nullcontext():
                os.killpg(child.pid, number)
        try:
            output, in_time = self.follow(child, logger, show, timeout)
        except BaseException:
            # As in mock: a signal's handler may have killed and collected the child already, and this then fails. That
            # is why a stopped mock exits with 1 as well as with 143.
            if child.returncode is None:
                kill(signal.SIGKILL)
            raise
        pretty = cmd if isinstance(cmd, str) else shlex.join(cmd)
        if not in_time:
            kill(signal.SIGTERM)
            time.sleep(1)
            with contextlib.suppress(ProcessLookupError):
                kill(signal.SIGKILL)
            raise Error("Timeout(%s) expired for command:\n # %s\n" % (timeout, pretty), 11)
        logger.debug("Child return code was: %s", child.wait())
        if check and child.returncode:
            raise Error("Command failed: \n # %s\n" % pretty, child.returncode)
        return output, child.returncode

    def follow(self, child, logger, show, timeout):
        """Copies both streams of the child, line by line, to the log; they come in no certain order, as in mock."""
        tails, output, end = {child.stdout: b"", child.stderr: b""}, [], time.time() + timeout
        while tails:
            if timeout and time.time() > end:
                return "".join(output), False
            ready, _, _ = select.select(list(tails), [], [], 1)
            if not ready and child.poll() is not None:  # something in the background holds the pipes open
                logger.info("Child pid '%s' is dead", child.pid)
                logger.info("Child dead, killing orphans")
                self.kill_orphans()
                break
            for stream in ready:
                data = os.read(stream.fileno(), 65536)
                if show:
                    sys.stdout.buffer.write(data)
                    sys.stdout.flush()
                lines = (tails[stream] + data).split(b"\n")
                tails[stream] = lines.pop() if data else b""
                for line in filter(None, lines):
                    line = re.sub(r"\x1b\[[0-9;]*[mK]", "", line.decode(errors="replace"))
                    output.append(line + "\n")
                    logger.debug("%s", line)
                if not data:
                    del tails[stream]
        return "".join(output), True

    def kill_orphans(self):
        """Kills what still runs in the root; as the build's user and as root, since there is no CAP_KILL."""
        for uid, gid in ((self.uid, self.gid), (0, 0)):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                with as_user(uid, gid), contextlib.suppress(OSError):
                    if os.readlink("/proc/%s/root" % pid) == os.path.realpath(self.path):
                        with open("/proc/%s/cmdline" % pid) as f:
                            log.warning("Leftover process %s is being killed with signal %d: %s", pid, signal.SIGKILL,
                                        f.read().replace("\0", " ").strip())
                        os.kill(int(pid), signal.SIGKILL)
                        os.waitpid(int(pid), 0)

    def open_logs(self):
        """Makes the result directory and the logs in it, as the unprivileged user: it has to be able to."""
        self.make_resultdir()
        with as_user(self.uid, self.gid):
            for logger, name, form in ((state_log, "state.log", "%(asctime)s - %(message)s"),
                    (build_log, "build.log", "%(message)s"),
                                       (log, "root.log", "%(levelname)s %(filename)s:%(lineno)d:  %(message)s")):
                handler = logging.FileHandler(os.path.join(self.resultdir, name), "a", encoding="utf-8",
                    errors="replace")
                handler.setFormatter(logging.Formatter(form))
                logger.addHandler(handler)
                logger.info("Mock Version: %s", VERSION)

    def make_resultdir(self):
        os.makedirs(self.base, exist_ok=True)
        os.chown(self.base, 0, self.gid)
        os.chmod(self.base, 0o775)
        with as_user(self.uid, self.gid):
            try:
                os.makedirs(self.resultdir, exist_ok=True)
            except OSError as e:
                log.error("Could not create dir %s. Error: %s", self.resultdir, e)
                raise Error("\nCould not create output directory for built rpms. The directory specified was:\n"
                    "    %s\n\nTry using the --resultdir= option to select another location. Recommended location is "
                    "--resultdir=~/mock/.\n" % self.resultdir, 70) from e

    # ---- the root's life

    def lock(self):
        """One mock for one root. mock itself lets a second --no-clean run in; rpmflow never has reason to."""
        os.makedirs(self.opts["basedir"], exist_ok=True)
        self.lock_file = open(self.base + ".lock", "a")
        try:
            fcntl.lockf(self.lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            raise Error("Build root is locked by another process.", 60) from e

    def clean(self):
        with state("clean chroot", finish=False):
            self.kill_orphans()
            for line in reversed(list(open("/proc/self/mounts"))):
                if line.split()[1].startswith(self.path + "/"):
                    self.run(["/bin/umount", "-n", "-l", line.split()[1]], chroot=False)
            shutil.rmtree(self.base, ignore_errors=True)

    def init(self, prebuild=False, logs=True):
        if logs and not build_log.handlers[1:]:
            self.open_logs()
        if self.opts["use_bootstrap"]:
            state_log.info("Start(bootstrap): chroot init")
            state_log.info("Finish(bootstrap): chroot init")
        with state("chroot init", finish=False):
            self.initialised = os.path.exists(self.path + "/.initialized")
            self.make_resultdir()
            log.info("calling preinit hooks")
            self.skeleton()
            if self.opts["plugin_conf"]["hw_info_enable"]:
                self.hw_info()
            log.info("Package manager dnf4 detected and used (fallback)")
            for source in ("/proc", "/sys", "/usr") + (("/dev",) if self.opts["internal_dev_setup"] else ()):
                self.run(["/bin/mount", "-n", "-o", "rbind", source, self.path + source], chroot=False)
            if prebuild:
                log.info("Buildroot is handled by package management from host and used with --installroot:\n")
            if not self.initialised:
                self.install_base()
            if prebuild or not self.initialised:
                self.fresh_home()
            self.users(recursive=prebuild)
            open(self.path + "/.initialized", "a").close()
        if not self.initialised:
            log.info("Installed packages:")
            log.info("\n".join(sorted(self.packages.installed())))

    def skeleton(self):
        """The directories of a root; what is a symbolic link on the image's top level is one here."""
        for d in ("builddir", "dev", "etc", "home", "mnt", "opt", "proc", "root", "run", "srv", "sys", "usr",
                "var/cache/dnf",
                  "var/lib/rpm", "var/log"):
            os.makedirs(os.path.join(self.path, d), exist_ok=True)
        for d in ("tmp", "var/tmp"):
            os.makedirs(os.path.join(self.path, d), exist_ok=True)
            os.chmod(os.path.join(self.path, d), 0o1777)
        for entry in os.scandir("/"):
            if entry.is_symlink() and not os.path.lexists(os.path.join(self.path, entry.name)):
                os.symlink(os.readlink(entry.path), os.path.join(self.path, entry.name))

    def install_base(self):
        with state("installing minimal buildroot with dnf4", finish=False):
            setup = self.opts["chroot_setup_cmd"]
            setup = setup.split() if isinstance(setup, str) else list(setup)
            groups = setup[:1] == ["groupinstall"]
            wanted = [p for p in setup[1:] if not groups and not p.startswith("@")]
            extra = self.opts["chroot_additional_packages"]
            wanted += extra.split() if isinstance(extra, str) else extra
            self.packages.dnf(setup or ["install"], wanted, "No match for argument: %s",
                "Error: Unable to find a match: %s")
            self.packages.record(BASE)
            subprocess.run(["cp", "-a", "/etc/.", self.path + "/etc"], check=True)
            shutil.rmtree(self.path + "/etc/mock", ignore_errors=True)
            self.run(["/bin/rpm", "--initdb"])
            for name, content in {**self.opts["files"], "etc/resolv.conf": ""}.items():
                os.makedirs(os.path.dirname(os.path.join(self.path, name)), exist_ok=True)
                with open(os.path.join(self.path, name), "w") as f:
                    f.write(content)

    def fresh_home(self):
        """An empty /builddir with the macros in it. build/SOURCES stays, as in mock."""
        home = self.path + "/builddir"
        for top, keep in ((home, ("build", ".bashrc", ".bash_history")), (self.build, ("SOURCES",))):
            for name in os.listdir(top) if os.path.isdir(top) else ():
                path = os.path.join(top, name)
                if name not in keep:
                    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
        os.chown(home, self.uid, self.gid)
        with as_user(self.uid, self.gid):
            for d in ("RPMS", "SPECS", "SRPMS", "SOURCES", "BUILD", "BUILDROOT", "originals"):
                os.makedirs(os.path.join(self.build, d), exist_ok=True)
            with open(home + "/.rpmmacros", "w") as f:
                if "macrofile" in self.opts:
                    with open(self.opts["macrofile"]) as given:
                        f.write(given.read() + "\n\n")
                f.writelines("%s %s\n" % macro for macro in self.opts["macros"].items())

    def users(self, recursive):
        """The root has the system's users, and the one that builds: mockbuild."""
        with open("/etc/passwd") as f:
            lines = [u for u in f if int(u.split(":")[2]) < 1000 or u.startswith("nobody:")]
        with open(self.path + "/etc/passwd", "w") as f:
            f.writelines(lines + ["mockbuild:x:%d:%d::/builddir:/bin/bash\n" % (self.uid, self.gid)])
        for top, dirs, files in os.walk(self.path + "/builddir"):
            os.lchown(top, self.uid, self.gid)
            if not recursive:
                break
            for name in dirs + files:
                os.lchown(os.path.join(top, name), self.uid, self.gid)

    def hw_info(self):
        log.info("enabled HW Info plugin")
        with as_user(self.uid, self.gid), open(self.resultdir + "/hw_info.log", "w") as f:
            for title, cmd in (("CPU info", ["lscpu"]), ("\n\nMemory", ["cat", "/proc/meminfo"]),
                               ("\n\nStorage (chroot, cache_topdir)", ["df", "-H", "-T", self.path])):
                f.write("%s:\n%s" % (title, subprocess.run(cmd, capture_output=True, text=True).stdout))

    # ---- what is built

    def rpmbuild(self, mode, spec, *more, check=True):
        noclean = "" if self.opts["cleanup_on_success"] else "--noclean "
        command = "/usr/bin/rpmbuild %s %s--target %s --nodeps %s%s" % (
            mode, noclean, self.opts["rpmbuild_arch"] or self.opts["target_arch"], "".join(m + " " for m in more), spec)
        return self.run(["bash", "--login", "-c", command], logger=build_log, user=True,
            show=self.opts["print_main_output"],
                        timeout=self.opts["rpmbuild_timeout"], check=check)

    def generated_requires(self, spec):
        """What %generate_buildrequires asks for is installed, until it asks for nothing new."""
        for again in range(10):
            before = self.packages.installed()
            output, code = self.rpmbuild("-br", spec, *(["--noprep"] if again else []), check=False)
            if code not in (0, 11):  # 11: it asks for something
                raise Error("Command failed: \n # rpmbuild -br\n%s" % output, 10)
            for asked in glob.glob(self.build + "/SRPMS/*.buildreqs.nosrc.rpm"):
                self.packages.install_deps(asked)
                os.remove(asked)
            if self.packages.installed() == before:
                return

    def rebuilt_srpm(self, spec):
        self.rpmbuild("-bs", spec)
        found = glob.glob(self.build + "/SRPMS/*src.rpm")
        if len(found) != 1:
            raise Error("Expected to find single rebuilt srpm, found %d in %s/SRPMS/*src.rpm"
                % (len(found), self.build), 40)
        return found[0]

    def buildsrpm(self, spec, sources):
        with state("buildsrpm"):
            with as_user(self.uid, self.gid):
                shutil.copy(spec, self.build + "/SPECS")
                if sources and os.path.isdir(sources):
                    shutil.rmtree(self.build + "/SOURCES")
                    shutil.copytree(os.path.realpath(sources), self.build + "/SOURCES", symlinks=True)
                elif sources:
                    shutil.copy(os.path.realpath(sources), self.build + "/SOURCES")
            with state("rpmbuild -bs"):
                srpm = self.rebuilt_srpm("/builddir/build/SPECS/" + os.path.basename(spec))
            with as_user(self.uid, self.gid):
                shutil.copy2(srpm, self.resultdir)

    def rebuild(self, srpm):
        name = os.path.basename(srpm)
        with state("build phase for " + name):
            with state("build setup for " + name):
                with as_user(self.uid, self.gid):
                    shutil.copyfile(srpm, "%s/originals/%s" % (self.build, name))
                output, code = self.run(["/bin/rpm", "-Uvh", "--nodeps", "/builddir/build/originals/" + name],
                    user=True, check=False)
                if code:
                    raise Error("Source RPM is not installable:\n%s" % output, 40)
                specs = [f for f in query(srpm, "-qpl").split("\n") if f.endswith(".spec")]
                if not specs:
                    raise Error("No specfile found in srpm: " + name, 40)
                spec = "/builddir/build/SPECS/" + specs[0]
                rebuilt = self.rebuilt_srpm(spec)
                generates = self.packages.generates(rebuilt)
                self.packages.install_deps(rebuilt)
            with state("rpmbuild " + name):
                if self.opts["plugin_conf"]["package_state_enable"]:
                    self.list_packages()
                if generates:
                    self.generated_requires(spec)
                self.rpmbuild(*(["-ba", spec, "--noprep"] if generates else ["-bb", spec]),
                    *([] if self.opts["check"] else ["--define '__spec_check_template exit 0; '"]))
            results = glob.glob(self.build + "/RPMS/*.rpm") + glob.glob(self.build + "/SRPMS/*.rpm")
            if not results:
                raise Error("No build results found", 40)
            with as_user(self.uid, self.gid):
                for result in results:
                    try:
                        shutil.copy2(result, self.resultdir)
                    except OSError as e:
                        raise Error("Can not copy %s into resultdir %s: %s" % (result, self.resultdir, e)) from e

    def list_packages(self):
        with state("Outputting list of installed packages"), as_user(self.uid, self.gid):
            with open(self.resultdir + "/installed_pkgs.log", "w") as f:
                real = self.packages.real()
                f.writelines("%s 0 0 0 installed\n" % real.get(n, "%s-0-1.standin.%s" % (n, self.opts["target_arch"]))
                    for n in sorted(self.packages.installed()))

    def with_clean_root(self, item, work):
        """What --buildsrpm and --rebuild have in common: a root, clean by default, and the remarks around it."""
        start = time.time()
        def remark(level, word, name):
            log.log(level, "%s(%s) Config(%s) %d minutes %d seconds", word, item, name,
                *divmod(time.time() - start, 60))
            log.info("Results and/or logs in: %s", self.resultdir)
        try:
            log.info("Start(%s)  Config(%s)", item, self.opts["shared_root"])
            if self.opts["clean"]:
                self.clean()
            self.init(prebuild=True)
            work()
        except (Exception, KeyboardInterrupt):
            remark(logging.ERROR, "Exception", self.opts["shared_root"])
            if self.opts["cleanup_on_failure"]:
                log.info("Cleaning up build root ('cleanup_on_failure=True')")
                self.clean()
            raise
        remark(logging.INFO, "Done", self.opts["chroot_name"])
        if self.opts["cleanup_on_success"]:
            log.info("Cleaning up build root ('cleanup_on_success=True')")
            self.clean()
