package main

import (
	"cmp"
	"errors"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow/internal/publisher"
	"github.com/rpmflow/rpmflow/internal/publisherd"
	"github.com/rpmflow/rpmflow/internal/repo/sign"
)

func repoSign() *cobra.Command {
	return storageCommand(&cobra.Command{
		Use: "sign [PROJECT [TARGET]]", Short: "Sign repositories with the present key, and publish the public keys",
		Args: cobra.MaximumNArgs(2),
		Long: `Sign is for a change of the signing key. It publishes the public halves of the keys in
publisher.signing_key, and signs again what the first of them has not signed: packages, and the metadata of a new
revision. A second run finds nothing to do.`,
		Example: "  rpmflow repo sign",
	}, mayAnnounce, func(cmd *cobra.Command, p *publisher.Publisher, args []string) error {
		args = append(args, "", "")
		places, err := p.Places(cmd.Context(), args[0], args[1])
		if err != nil {
			return err
		}
		type row struct {
			Project  string `json:"project"`
			Target   string `json:"target"`
			Kind     string `json:"kind"`
			Revision int64  `json:"revision"`
			Signed   int    `json:"signed"` // packages that were signed again
		}
		rows := make([]row, 0, len(places))
		t := table{{"PROJECT", "TARGET", "KIND", "REVISION", "SIGNED"}}
		var failed error
		for _, place := range places {
			state, signed, err := p.Sign(cmd.Context(), place)
			if err != nil { // the others do not wait for it
				failed = errors.Join(failed, err)
				continue
			}
			announceChange(cmd, p, place)
			r := row{place.Project, place.Target, string(place.Kind), state.Revision, signed}
			rows = append(rows, r)
			t = append(t, []string{r.Project, r.Target, cmp.Or(r.Kind, "packages"),
				strconv.FormatInt(r.Revision, 10), strconv.Itoa(r.Signed)})
		}
		return errors.Join(emit(cmd, rows, func(out io.Writer) error { return t.write(out, 4) }), failed)
	})
}

func repoNewKey() *cobra.Command {
	cmd := &cobra.Command{
		Use: "new-key", Short: "Print a new private key, for a change of the signing key", Args: cobra.NoArgs,
		Long: `New-key prints an armored OpenPGP key that has no passphrase and does not expire. Nothing uses it
until it is in the publisher's configuration or in DATA_DIR/signing-key.asc. RSA is read by every rpm, Ed25519 from
EL 8 on.`,
		Example: "  (umask 077; rpmflow repo new-key > new.asc)",
	}
	algorithm := cmd.Flags().String("algorithm", string(sign.RSA4096), "rsa4096 or ed25519")
	name := cmd.Flags().String("name", publisherd.KeyName, "what tools show of the key")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		private, _, err := sign.Generate(sign.Algorithm(*algorithm), *name, "")
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(private)
		return err
	}
	return cmd
}
