variable "repositories" {
  description = "The names of the repositories: one an image."
  type        = set(string)
}

variable "function_repositories" {
  description = "Those whose images run on Lambda, which has to be let in."
  type        = set(string)
  default     = []
}

variable "kms_key_arn" {
  description = "The key that encrypts the images."
  type        = string
}

variable "keep_images" {
  description = "How many images of a repository stay; the oldest go."
  type        = number
  default     = 50

  validation {
    condition     = var.keep_images >= 2
    error_message = "keep_images must be at least 2: what runs, and what is rolled back to."
  }
}

variable "force_destroy" {
  description = "Whether `terraform destroy` deletes a repository that is not empty."
  type        = bool
  default     = false
}
