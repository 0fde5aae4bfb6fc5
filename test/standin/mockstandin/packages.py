"""Plays dnf and its repositories: packages are names, what is installed is a list in the root."""
import configparser
import contextlib
import hashlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from . import repository
from .report import Error, log

# What the repositories hold: package name -> the file that makes the claim true in this image. A configuration adds
# names with config_opts['standin_packages']. BASE is what --init installs; the rest comes with --installdeps.
PACKAGES = {
    "bash": "bash", "binutils": "ld", "bzip2": "bzip2", "coreutils": "install", "cpio": "cpio", "diffutils": "diff",
    "file": "file",
    "findutils": "find", "gawk": "awk", "gcc": "gcc", "gcc-c++": "g++", "glibc-devel": "../include/stdio.h",
    "grep": "grep",
    "gzip": "gzip", "make": "make", "patch": "patch", "perl": "perl", "perl-interpreter": "perl", "python3": "python3",
    "rpm-build": "rpmbuild", "sed": "sed", "tar": "tar", "util-linux": "mount", "xz": "xz", "zstd": "zstd",
}
BASE = {"bash", "bzip2", "coreutils", "cpio", "diffutils", "findutils", "gawk", "grep", "gzip", "make", "patch",
    "rpm-build",
        "sed", "tar", "util-linux", "xz"}
# What the stand-in's /usr/bin/dnf-3 ends with: it was asked.
DNF_ASKED = 93


def query(package, *args):
    """Asks the image's rpm about a package file."""
    if not os.path.exists(package):
        raise Error("Cannot find/open srpm: %s. Error: [Errno 2] No such file or directory: '%s'" % (package, package))
    done = subprocess.run(["rpm", *args, package], capture_output=True, text=True)
    if done.returncode:
        raise Error("Cannot find/open srpm: %s. Error: error reading package header" % package)
    return done.stdout


class Packages:
    """The packages of one root."""

    def __init__(self, opts, root_path, env):
        self.opts, self.path, self.env = opts, root_path, env
        self.list = root_path + "/var/lib/rpm/standin-packages"

    def installed(self):
        with contextlib.suppress(FileNotFoundError):
            with open(self.list) as f:
                return set(f.read().split())
        return set()

    def record(self, names):
        everything = self.installed() | set(names)
        with open(self.list, "w") as f:
            f.writelines(n + "\n" for n in sorted(everything))

    def available(self, name):
        if name.startswith("/"):
            return os.path.exists(self.path + name)
        if name in self.opts["standin_packages"] or os.path.exists("/usr/bin/" + PACKAGES.get(name, "\0none")):
            return True
        return self.provider(name) is not None

    def provider(self, name):
        """The newest package of the repositories that provides a name: the repository, its URL, the package."""
        found = [(repo, url, p) for repo, url in self.repositories()
            for p in repository.read(self.cache(repo, url)) if name in p["provides"]]
        return repository.newest(found, key=lambda f: f[2]["evr"])

    def cache(self, repo, url):
        return "%s/var/cache/dnf/%s-%s/repodata" % (self.path, repo, hashlib.sha256(url.encode()).hexdigest()[:16])

    def configured(self):
        """dnf.conf, or one of its other names. An option of a repository that the stand-in does not have is a mistake."""
        conf = configparser.RawConfigParser(strict=False)
        names = ("dnf.conf", "yum.conf", "dnf5.conf", "dnf4.conf")
        conf.read_string(next((self.opts[k] for k in names if self.opts.get(k)), ""))
        for repo in conf.sections():
            unknown = set(conf.options(repo)) - repository.OPTIONS
            if repo != "main" and unknown:
                raise Error("the stand-in does not know the option %s of the repository %s" % (unknown.pop(), repo), 3)
        return conf

    def server(self, repo):
        return repository.Server(dict(self.configured().items(repo)))

    def repositories(self):
        """(id, URL) of what has to be reached over the network."""
        conf = self.configured()
        variables = {"releasever": self.opts["releasever"], "basearch": self.opts["target_arch"],
            "arch": self.opts["target_arch"]}
        for repo in conf.sections():
            if repo == "main" or conf.get(repo, "enabled", fallback="1") in ("0", "False", "false", "no"):
                continue
            if conf.get(repo, "skip_if_unavailable", fallback="0") in ("1", "True", "true", "yes"):
                continue
            urls = (conf.get(repo, k, fallback="") for k in ("baseurl", "metalink", "mirrorlist"))
            url = next(filter(None, urls), "").split()[:1]
            url = re.sub(r"\$(releasever|basearch|arch)\b", lambda m: str(variables[m[1]]), "".join(url))
            if url.startswith(("http://", "https://")):
                yield repo, url.rstrip("/") + "/repodata/repomd.xml" if conf.get(repo, "baseurl", fallback="") else url

    def dnf(self, args, wanted, missing, verdict):
        """Plays dnf: fetches the repositories' metadata, finds the packages, writes them down as installed."""
        before = self.installed()
        cmd = ["/usr/bin/dnf-3", *args[:1], "--installroot", self.path + "/"]
        cmd += [] if self.opts["online"] else ["-C"]
        if args[:1] == ["builddep"] and self.opts.get("dnf4_builddep_command"):
            # A configuration may have its own program for this; when that calls dnf after all, the stand-in goes on to
            # play it.
            done = subprocess.run([self.opts["dnf4_builddep_command"], *cmd[1:], *args[1:]], capture_output=True,
                text=True)
            if done.returncode == 0:
                log.debug("%s", done.stdout)
                return
            if done.returncode != DNF_ASKED:
                raise Error("Command failed: \n # %s\n%s" % (shlex.join(cmd + args[1:]), done.stdout + done.stderr), 30)
        out, ok = self.fetch_metadata()
        unknown = [w for w in wanted if not self.available(w)]
        new = sorted({w for w in wanted if not w.startswith("/")} - before)
        if ok and unknown:
            out += [missing % w for w in unknown] + verdict.replace("%s", " ".join(unknown)).split("\n")
            ok = False
        elif ok and new and not self.opts["online"]:
            out += ["Dependencies resolved.", "Downloading Packages:",
                    'Error: Some packages have invalid cache, but cannot be downloaded due to "--cacheonly" option']
            ok = False
        elif ok:
            out += self.download(new)
            out += self.install([n for n in new if n not in PACKAGES and n not in self.opts["standin_packages"]])
            out += ["Package %s-0-1.standin is already installed." % w for w in wanted if w in before]
            installed = ["Installed:"] + ["  " + n for n in new] if new else ["Nothing to do."]
            out += ["Dependencies resolved."] + installed + ["Complete!"]
            self.record(new)
        log.debug("Executing command: %s with env %s and shell False", cmd + args[1:], self.env)
        for line in out:
            log.debug("%s", line)
            if self.opts["print_main_output"]:
                print(line, end="\r\n", flush=True)  # mock gives dnf a terminal
        log.debug("Child return code was: %d", not ok)
        if not ok:
            raise Error("Command failed: \n # %s\n%s\n" % (shlex.join(cmd + args[1:]), "\n".join(out)), 30)

    def update(self, names):
        """The repositories are asked; a package has no version that could be newer."""
        self.dnf(["update", "-y", *names], [], "", "")

    def fetch_metadata(self):
        """dnf's words about the repositories, and whether all is well."""
        out = []
        for repo, url in self.repositories():
            cache = self.cache(repo, url)
            if not self.opts["online"]:
                if not os.path.exists(cache + "/repomd.xml"):
                    return ["Error: Cache-only enabled but no cache for '%s'" % repo], False
                continue
            try:
                repomd, packages = self.server(repo).metadata(url)
                out.append("%-47s %d  B" % (repo, len(repomd)))
                os.makedirs(cache, exist_ok=True)
                with open(cache + "/repomd.xml", "wb") as f:
                    f.write(repomd)
                repository.write(cache, packages)
                self.fetch_list(url, cache)
                continue
            except repository.BadSignature as e:
                return out + ["Error: Failed to download metadata for repo '%s': repomd.xml GPG signature verification "
                    "error: %s" % (repo, e)], False
            except urllib.error.HTTPError as e:
                why = "Status code: %d for %s" % (e.code, url)
            except repository.Damaged as e:
                why = str(e)
            except (OSError, ValueError) as e:
                reason, server = getattr(e, "reason", e), urllib.parse.urlparse(url)
                why = "Curl error (7): Couldn't connect to server for %s [Failed to connect to %s: %s]" % (
                    url, server.netloc, reason)
                if isinstance(reason, socket.gaierror):
                    why = "Curl error (6): Couldn't resolve host name for %s [Could not resolve host: %s]" % (
                        url, server.hostname)
                elif isinstance(reason, TimeoutError):
                    why = "Curl error (28): Timeout was reached for %s [Operation timed out]" % url
            return out + ["Errors during downloading metadata for repository '%s':" % repo, "  - " + why,
                          "Error: Failed to download metadata for repo '%s': Cannot download repomd.xml: Cannot "
                          "download repodata/repomd.xml: All mirrors were tried" % repo], False
        return out, True

    def fetch_list(self, repomd, directory):
        """The packages of a repository that must be downloaded: lines of repodata/standin-packages with name, SHA-256,
        file."""
        with contextlib.suppress(OSError, ValueError):
            url = os.path.dirname(repomd) + "/standin-packages"
            with urllib.request.urlopen(url, timeout=10) as answer, open(directory + "/standin-packages", "wb") as f:
                f.write(answer.read())

    def download(self, names):
        """As librepo does: a file that is there is used if its checksum is right, else it is fetched again."""
        out = []
        for repo, repomd in self.repositories():
            top = "%s/var/cache/dnf/%s-%s" % (self.path, repo, hashlib.sha256(repomd.encode()).hexdigest()[:16])
            with contextlib.suppress(FileNotFoundError):
                with open(top + "/repodata/standin-packages") as f:
                    listed = [line.split() for line in f]
                for name, checksum, file in listed:
                    if name not in names:
                        continue
                    path = "%s/packages/%s" % (top, file)
                    if os.path.exists(path) and self.checksum(path) == checksum:
                        out.append("[SKIPPED] %s: Already downloaded" % file)
                        continue
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    url = os.path.dirname(os.path.dirname(repomd)) + "/" + file
                    with urllib.request.urlopen(url, timeout=10) as answer, open(path, "wb") as f:
                        shutil.copyfileobj(answer, f)
                    if self.checksum(path) != checksum:
                        raise Error("Error: Error downloading packages:\n  %s: Downloading successful, but checksum "
                            "doesn't match." % file, 30)
                    out.append("%-60s" % file)
        return out

    def install(self, names):
        """Really installs packages of repositories, with rpm. What they require is not looked at."""
        out = []
        for name in names:
            repo, url, package = self.provider(name) or (None, None, None)
            if package is None or not package["file"]:
                continue
            file = "%s/packages/%s" % (os.path.dirname(self.cache(repo, url)), os.path.basename(package["file"]))
            os.makedirs(os.path.dirname(file), exist_ok=True)
            try:
                self.server(repo).package(url, package, file)
            except repository.BadSignature as e:
                raise Error("%s\nError: GPG check FAILED" % e, 30) from e
            except OSError as e:
                raise Error("Error: Error downloading packages:\n  Cannot download %s: All mirrors were tried: %s"
                    % (package["file"], e), 30) from e
            done = subprocess.run(["rpm", "--root", self.path, "-U", "--nodeps", file], capture_output=True, text=True)
            if done.returncode:
                raise Error("Error: Transaction failed\n%s%s" % (done.stdout, done.stderr), 30)
            self.record([package["name"]])
            out.append("  Installing       : %s-%s  1/1" % (package["name"], package["evr"]))
        return out

    def real(self):
        """The packages that were installed with rpm: by name, as rpm calls them."""
        done = subprocess.run(["rpm", "--root", self.path, "-qa", "--qf", "%{name} %{nevra}\\n"], capture_output=True,
            text=True)
        return dict(line.split() for line in done.stdout.splitlines() if not line.startswith("gpg-pubkey "))

    @staticmethod
    def checksum(path):
        with open(path, "rb") as f:
            return hashlib.sha256(f.read()).hexdigest()

    def install_deps(self, package):
        """The package's requirements by name; versions are not compared."""
        requires = query(package, "-qpR").splitlines()
        # A rich dependency stays whole, and so is a name that no repository has.
        names = [r if r.startswith("(") else re.sub(r"\((x86-64|aarch-64)\)$", "", r.split()[0])
            for r in requires if not r.startswith("rpmlib(")]
        self.dnf(["builddep", package], list(dict.fromkeys(names)), "No matching package to install: '%s'",
                 "Not all dependencies satisfied\nError: Some packages could not be found.")

    def generates(self, package):
        """Whether the package has %generate_buildrequires."""
        found = any(r.startswith("rpmlib(DynamicBuildRequires)") for r in query(package, "-qpR").splitlines())
        if found and not self.opts["dynamic_buildrequires"]:
            raise Error("DynamicBuildRequires are found but support is disabled. "
                "See \"dynamic_buildrequires\" in config_opts.")
        return found
