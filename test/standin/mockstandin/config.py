"""The configuration: Python, run as mock runs it; what the stand-in cannot do is refused and not ignored."""
import logging
import os
import pprint
import re
import socket
import sys

from .report import Error, log

# The plugins that the stand-in can do, or whose absence nobody notices; a configuration that switches on another is
# refused.
PLUGINS = {"root_cache": True, "yum_cache": True, "bind_mount": True, "mount": True, "selinux": True,
           "package_state": True, "hw_info": True, "ccache": False, "tmpfs": False, "compress_logs": False,
           "sign": False, "showrc": False, "procenv": False}


def defaults(uid, gid):
    plugins = {}
    for name, enabled in PLUGINS.items():
        plugins.update({name + "_enable": enabled, name + "_opts": {}})
    plugins["bind_mount_opts"] = {"dirs": []}
    return {
        "basedir": "/var/lib/mock", "resultdir": "{{ basedir }}/{{ root }}/result", "chrootuid": uid, "chrootgid": gid,
        "clean": True, "check": True, "online": True, "cleanup_on_success": True, "cleanup_on_failure": True,
        "internal_dev_setup": True, "dnf4_command": "/usr/bin/dnf-3", "dnf5_command": "/usr/bin/dnf5",
        "isolation": None, "use_bootstrap": True, "use_bootstrap_image": True, "print_main_output": None,
        "package_manager": "dnf", "releasever": None, "chroot_setup_cmd": "", "chroot_additional_packages": [],
        "rpmbuild_timeout": 0, "rpmbuild_arch": None, "dynamic_buildrequires": True,
        "use_container_host_hostname": True,
        "files": {"etc/hosts": "127.0.0.1 localhost localhost.localdomain\n::1 localhost localhost.localdomain\n"},
        "macros": {"%_topdir": "/builddir/build", "%_rpmfilename": "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm"},
        "environment": {
            "TERM": "vt100", "SHELL": "/bin/bash", "HOME": "/builddir", "HOSTNAME": "mock",
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "PROMPT_COMMAND": r'printf "\033]0;<mock-chroot>\007"', "PS1": r"<mock-chroot> \s-\v\$ ",
            "LANG": "C.UTF-8"},
        "plugin_conf": plugins, "dnf.conf": "", "standin_packages": [],
    }


def read_config(opts, path, configdir, seen):
    """The file's text with every include(…) replaced by that file's text, as mock does it, then run."""
    def text(name):
        if name in seen:
            log.warning("Multiple inclusion of %s, skipping", name)
            return ""
        if not os.path.exists(name):
            raise Error("Could not find included config file: %s" % name, 3)
        seen.add(name)
        with open(name) as f:
            return re.sub(r"^\s*include\((.*)\)", lambda m: text(os.path.join(configdir, eval(m[1]))), f.read(),
                flags=re.M)
    source = text(os.path.realpath(path))
    try:
        exec(source, {"config_opts": opts})
    except Exception as e:
        raise Error("Config error: %s: %s" % (path, e), 3) from e
    for k, v in list(opts["macros"].items()):
        if not k or v == "" or len(k.split()) != 1:
            raise Error("Bad macros 'config_opts['macros']['%s'] = ['%s']'" % (k, v), 5)
        if not k.startswith("%"):
            opts["macros"]["%" + k] = opts["macros"].pop(k)


def load_config(options, uid, gid):
    configdir = options.configdir or "/etc/mock"
    path = options.root if options.root.endswith(".cfg") else "%s/%s.cfg" % (configdir, options.root)
    opts, seen = defaults(uid, gid), set()
    if os.path.exists(configdir + "/site-defaults.cfg"):
        read_config(opts, configdir + "/site-defaults.cfg", configdir, seen)
    if not os.path.exists(path):
        logging.error("Could not find required config file: %s", path)
        raise Error("Non-existing Mock config '%s'" % options.root, 3)
    read_config(opts, path, configdir, seen)
    opts["chroot_name"] = os.path.splitext(os.path.basename(path))[0] if options.root.endswith(".cfg") else options.root
    if opts["use_container_host_hostname"]:
        opts["macros"].setdefault("%_buildhost", socket.getfqdn())
    return opts


def apply_options(opts, options):
    given = {}
    for option in options.config_opts:
        k, v = option.split("=", 1)
        v = {"true": True, "True": True, "false": False, "False": False, "none": None, "None": None}.get(v, v)
        v = int(v) if isinstance(v, str) and re.fullmatch(r"[+-]?\d+", v) else v
        if k in given:  # given twice: a list; the second one empty: a list of one
            v = (given[k] if isinstance(given[k], list) else [given[k]]) + ([v] if v != "" else [])
        given[k] = v
    opts.update(given)
    for macro in options.define:
        name, _, body = macro.strip().partition(" ")
        if not body:
            raise Error("Bad option for '--define' (%s).  Use --define 'macro expr'" % macro, 5)
        opts["macros"]["%" + name.removeprefix("%")] = body
    for k in ("clean", "check"):
        opts[k] = opts[k] and getattr(options, k)
    opts["online"] = options.online
    if not options.cleanup_after:
        opts["cleanup_on_success"] = opts["cleanup_on_failure"] = False
    if options.resultdir:
        opts["resultdir"] = os.path.expanduser(options.resultdir)
    if opts["print_main_output"] is None:
        opts["print_main_output"] = options.verbose < logging.WARNING and sys.stderr.isatty()
    for key in ("root", "target_arch"):
        if key not in opts:
            raise Error("Error in configuration - option config_opts['%s'] must be present in your config." % key, 3)
    expand(opts)
    opts["shared_root"] = opts["root"]
    if options.uniqueext:
        opts["resultdir"] = opts["resultdir"].replace("/%s/" % opts["root"],
            "/%s-%s/" % (opts["root"], options.uniqueext))
        opts["root"] += "-" + options.uniqueext
    if (opts["resultdir"] + "/").startswith("%s/%s/" % (opts["basedir"], opts["root"])):
        opts["cleanup_on_success"] = opts["cleanup_on_failure"] = False  # the results would go, too
    if opts["isolation"] != "simple":
        raise Error("the stand-in needs config_opts['isolation'] = 'simple', it is %r" % opts["isolation"], 3)
    if opts["use_bootstrap"] and opts["use_bootstrap_image"]:
        raise Error("the stand-in needs config_opts['use_bootstrap_image'] = False: there is no podman in the"
            " container", 3)
    on = {k.removesuffix("_enable") for k, v in opts["plugin_conf"].items() if k.endswith("_enable") and v}
    if on - {k for k, v in PLUGINS.items() if v} or opts["plugin_conf"]["bind_mount_opts"].get("dirs"):
        raise Error("the stand-in cannot do these plugins: %s"
            % " ".join(sorted(on - set(PLUGINS)) or ["bind_mount"]), 3)
    if os.uname().machine not in opts.get("legal_host_arches", [os.uname().machine]):
        raise Error("the stand-in does not build for %s on %s" % (opts["target_arch"], os.uname().machine), 6)


def show_config(opts, uid, gid):
    """--debug-config-expanded: every option that is not at its default, as Python."""
    known = defaults(uid, gid)
    for key in sorted(opts):
        if key not in known or opts[key] != known[key]:
            print("config_opts['%s'] = %s" % (key, pprint.pformat(opts[key])))
    return 0


def expand(opts):
    """Replaces {{ name }}, the one part of the template language that the stand-in has."""
    def value(v):
        if isinstance(v, dict):
            return {k: value(x) for k, x in v.items()}
        if isinstance(v, (list, tuple)):
            return [value(x) for x in v]
        if not isinstance(v, str):
            return v
        v = re.sub(r"{{\s*(\w+)\s*}}", lambda m: str(value(opts.get(m[1], ""))), v)
        if "{{" in v or "{%" in v:
            raise Error("the stand-in expands {{ name }} in a configuration and nothing else: %s" % v, 3)
        return v
    opts.update({k: value(v) for k, v in opts.items()})
