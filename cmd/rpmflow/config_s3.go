package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rpmflow/rpmflow"
	"github.com/rpmflow/rpmflow/internal/cli"
	"github.com/rpmflow/rpmflow/internal/config"
	"github.com/rpmflow/rpmflow/internal/hint"
	"github.com/rpmflow/rpmflow/internal/storage"
)

func configS3Command() *cobra.Command {
	var bucket, role string
	var principals []string
	cmd := &cobra.Command{
		Use: "s3", Short: "Print the S3 policy that gives each role what it needs", Args: cobra.NoArgs,
		Long: `Prints the policy of the bucket. It is for storages other than ` + "`rpmflow s3`" + `, which writes its
own policy. Each role gets an account with these rights: listener reads builds/; builder reads and writes
builds/ and sources/; publisher reads builds/ and reads, writes and deletes repos/; each may list names. None
may make the bucket: make it first, and set s3.create_bucket to false.

Name the accounts as the storage does, with one --principal for each role that is to have rights. Without --principal
each account has the name of its role. With --role it is the policy of that role's own account, without a principal.

  AWS    make a user for each role and put the policy on it (aws iam put-user-policy --user-name builder
         --policy-name rpmflow --policy-document file://builder.json), or put the bucket's policy on the bucket
         (aws s3api put-bucket-policy) with principals such as arn:aws:iam::123456789012:user/builder
  MinIO  rights are kept with accounts: mc admin policy create ALIAS rpmflow-builder builder.json, then
         mc admin policy attach ALIAS rpmflow-builder --user builder
  Ceph   put the bucket's policy on the bucket (s3cmd setpolicy), with principals such as arn:aws:iam:::user/builder`,
		Example: "  rpmflow config s3 --role builder > builder.json\n" +
			"  rpmflow config s3 --bucket rpmflow --principal listener=arn:aws:iam:::user/listener " +
			"--principal builder=arn:aws:iam:::user/builder > policy.json",
	}
	cli.ConfigFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&bucket, "bucket", "", "the bucket; empty: s3.bucket of the configuration")
	f.StringVar(&role, "role", "", "print the policy of this role's account: listener, builder or publisher")
	f.StringArrayVar(&principals, "principal", nil,
		"ROLE=ACCOUNT, what the storage calls the role's account; may be given for each role")
	cmd.MarkFlagsMutuallyExclusive("role", "principal")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if bucket == "" {
			cfg, err := cli.Load(cmd, config.ForOperator)
			if err != nil {
				return err
			}
			bucket = cfg.S3.Bucket
		}
		policy, err := s3Policy(bucket, rpmflow.Role(role), principals)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := json.Indent(&out, policy, "", "  "); err != nil {
			return fmt.Errorf("print the policy: %w", err)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), out.String())
		return err
	}
	return cmd
}

func s3Policy(bucket string, role rpmflow.Role, principals []string) ([]byte, error) {
	if role != "" {
		return storage.RolePolicy(bucket, role)
	}
	accounts := map[rpmflow.Role]string{}
	for _, p := range principals {
		name, account, _ := strings.Cut(p, "=")
		if account == "" {
			return nil, hint.Add(fmt.Errorf("--principal %q has no account", p), "write ROLE=ACCOUNT, such as "+
				"builder=arn:aws:iam::123456789012:user/builder")
		}
		accounts[rpmflow.Role(name)] = account
	}
	if len(principals) == 0 {
		for _, r := range storage.Roles() {
			accounts[r] = string(r)
		}
	}
	return storage.BucketPolicy(bucket, accounts)
}
