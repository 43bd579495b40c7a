# Lists the contents of an image and their licences: `make sbom` writes three files into build/sbom.
ARG IMAGE=parley:cuda

FROM ${IMAGE} AS tools
# hadolint ignore=DL3002 # this stage is not part of the result
USER 0
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip=23.0.* \
    && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir --root-user-action=ignore --target /opt/tools cyclonedx-bom==7.5.0 pip-licenses==5.5.5

FROM ${IMAGE} AS list
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3002 # this stage is not part of the result
USER 0
COPY --from=tools /opt/tools /opt/tools
# The tools list what this Python can import, which excludes the tools themselves.
RUN printf '#!/bin/sh\nPYTHONPATH=/opt/python:/opt/torch exec python3 "$@"\n' > /usr/local/bin/image-python \
    && chmod +x /usr/local/bin/image-python
RUN mkdir /sbom \
    && export PYTHONPATH=/opt/tools \
    && python3 -m cyclonedx_py environment --output-format JSON --output-file /sbom/python.cdx.json \
        /usr/local/bin/image-python \
    && python3 -m piplicenses --python /usr/local/bin/image-python --format markdown --with-urls \
        --output-file /sbom/python-licences.md \
    && dpkg-query --show --showformat '${Package} ${Version} /usr/share/doc/${Package}/copyright\n' > /sbom/debian.txt

FROM scratch
COPY --from=list /sbom /
