package forge

// Forgejo is a fork of Gitea.
func Forgejo() Forge { return giteaForm("Forgejo", "github", "gitea") }
